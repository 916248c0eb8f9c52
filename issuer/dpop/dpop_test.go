package dpop

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/realm"
)

// TestTargets (RFC 9449 §4.3: htu, and what may be normalized before it is
// compared). The rest of a proof is tested at the doors, in package issuer.
func TestTargets(t *testing.T) {
	t.Parallel()
	const endpoint = "https://id.example/realms/demo/protocol/openid-connect/token"
	for htu, want := range map[string]bool{
		endpoint:          true,
		endpoint + "?a=b": true,
		endpoint + "#c":   true,
		"HTTPS://ID.example/realms/demo/protocol/openid-connect/token":     true,
		"https://id.example:443/realms/demo/protocol/openid-connect/token": true,

		"http://id.example/realms/demo/protocol/openid-connect/token":       false,
		"https://id.example:80/realms/demo/protocol/openid-connect/token":   false,
		"https://id.example:8443/realms/demo/protocol/openid-connect/token": false,
		"https://id.example/realms/Demo/protocol/openid-connect/token":      false,
		"https://id.example/realms/demo/protocol/openid-connect/token/":     false,
		"https://id.example/realms/demo/protocol/openid-connect/%74oken":    false,
		"https://id.example/realms/x/../demo/protocol/openid-connect/token": false,
		"https://me@id.example/realms/demo/protocol/openid-connect/token":   false,
		"https://id.example.evil/realms/demo/protocol/openid-connect/token": false,
		"//id.example/realms/demo/protocol/openid-connect/token":            false,
		"/realms/demo/protocol/openid-connect/token":                        false,
		"https:id.example": false,
		"":                 false,
		"https://id.example\x00/realms/demo/protocol/openid-connect/token":   false,
		"https://id.example:x443/realms/demo/protocol/openid-connect/token":  false,
		"https://[::1/realms/demo/protocol/openid-connect/token":             false,
		"https://id.example:0443/realms/demo/protocol/openid-connect/token1": false,
	} {
		if got := sameTarget(htu, endpoint); got != want {
			t.Errorf("%q: %v, want %v", htu, got, want)
		}
	}
}

type forgetful struct{}

func (forgetful) Once(context.Context, realm.Realm, string, string, time.Time) error { return nil }

// TestNoncesTurnOver (RFC 9449 §8.2): one is good for this period and the next,
// in its realm, at every replica.
func TestNoncesTurnOver(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	verifier := func(secret byte) *Verifier {
		v, err := New(Config{
			Replay: forgetful{}, Replayed: errors.New("seen"), Now: func() time.Time { return now }, Secret: bytes.Repeat([]byte{secret}, 32),
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v, replica, stranger := verifier(1), verifier(1), verifier(2)
	demo, other := realm.Realm{ID: "demo"}, realm.Realm{ID: "other"}
	nonce := v.nonce(demo, v.period())
	if !replica.isNonce(demo, nonce) || stranger.isNonce(demo, nonce) || v.isNonce(other, nonce) || v.isNonce(demo, "") {
		t.Error("want it good in its realm, with its secret alone")
	}
	now = now.Add(nonceLife)
	if !v.isNonce(demo, nonce) {
		t.Error("it has ended with its period")
	}
	now = now.Add(nonceLife)
	if v.isNonce(demo, nonce) {
		t.Error("it is good two periods later")
	}
}

// TestNewChecksItsConfiguration: a guessable secret would make guessable nonces.
func TestNewChecksItsConfiguration(t *testing.T) {
	t.Parallel()
	good := Config{Replay: forgetful{}, Replayed: errors.New("seen"), Now: time.Now, Secret: make([]byte, 32)}
	for name, change := range map[string]func(*Config){
		"no replay memory": func(c *Config) { c.Replay = nil },
		"no clock":         func(c *Config) { c.Now = nil },
		"a short secret":   func(c *Config) { c.Secret = make([]byte, 31) },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
