package issuer_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// TestTwoSecretsWhileOneIsRotated from the realm file to the door: both are
// good until the old one's end, and without one a change is at once.
func TestTwoSecretsWhileOneIsRotated(t *testing.T) {
	t.Parallel()
	s := start(t)
	accepted := func(secret string) bool {
		status, answer := s.post("token", "turning", secret, url.Values{"grant_type": {"client_credentials"}})
		if status != http.StatusOK && (status != http.StatusUnauthorized || answer["error"] != "unauthorized_client") {
			t.Errorf("%d %v", status, answer)
		}
		return status == http.StatusOK
	}
	c := service("turning", nil)
	c.Secret = "old"
	s.importMore(c)
	if !accepted("old") || accepted("new") {
		t.Fatal("before: want the old one alone")
	}
	c.Secret = "new"
	c.Attributes = map[string]string{
		"client.secret.rotated": "old", "client.secret.rotated.expiration.time": strconv.FormatInt(s.now().Add(time.Hour).Unix(), 10),
	}
	s.importMore(c)
	s.importMore(c) // as a restart does
	if !accepted("old") || !accepted("new") || accepted("other") || accepted("") {
		t.Error("meanwhile: want both, and no other")
	}
	s.clock.Add(int64(time.Hour + time.Second))
	if accepted("old") || !accepted("new") {
		t.Error("after its end: want the new one alone")
	}
	c.Secret, c.Attributes = "newest", nil
	s.importMore(c)
	if accepted("new") || !accepted("newest") {
		t.Error("a change without rotation: want the newest alone")
	}
}

// TestTheSecretBeforeIsNotStored but as a hash, like the other.
func TestTheSecretBeforeIsNotStored(t *testing.T) {
	t.Parallel()
	stores, source := openStores(t)
	iss, err := issuer.New(issuer.Config{BaseURL: "http://id.example", Stores: stores, WatchSource: source, Seal: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	turning := func(change func(*issuer.Client)) error {
		c := issuer.Client{ClientID: "turning", Secret: "new", Attributes: map[string]string{
			"client.secret.rotated": "the-one-before", "client.secret.rotated.expiration.time": "1800000000", "kept": "yes",
		}}
		change(&c)
		return iss.Import(t.Context(), issuer.Realm{Realm: "demo", Clients: []issuer.Client{c}})
	}
	if err := turning(func(*issuer.Client) {}); err != nil {
		t.Fatal(err)
	}
	r, err := realm.New(stores.Realms, "http://id.example").ByName(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.New(stores.Clients).ByClientID(t.Context(), r, "turning")
	if err != nil {
		t.Fatal(err)
	}
	if got.Attributes["client.secret.rotated"] != "" || got.Attributes["kept"] != "yes" || !strings.HasPrefix(got.OldSecretHash, "sha256:") {
		t.Errorf("stored %v and %q", got.Attributes, got.OldSecretHash)
	}
	for name, change := range map[string]func(*issuer.Client){
		"without an end":        func(c *issuer.Client) { delete(c.Attributes, "client.secret.rotated.expiration.time") },
		"of a public client":    func(c *issuer.Client) { c.PublicClient, c.Secret = true, "" },
		"of one that is sealed": func(c *issuer.Client) { c.ClientAuthenticatorType, c.Secret = "client-secret-jwt", signingSecret },
	} {
		if turning(change) == nil {
			t.Errorf("%s: imported", name)
		}
	}
}
