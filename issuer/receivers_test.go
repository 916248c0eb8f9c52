package issuer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/receiver"
	"github.com/tegata/tegata/revocation"
)

// elsewhere is an issuer that is not ours.
type elsewhere struct {
	*httptest.Server
	key jose.Signer
}

func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e := &elsewhere{key: jose.Signer{ID: "k1", Algorithm: jose.ES256, Key: key}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/.well-known/openid-configuration") {
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": e.URL, "jwks_uri": e.URL + "/certs"})
			return
		}
		set, _ := jose.NewKeySet(jose.PublicKey{ID: "k1", Algorithm: jose.ES256, Key: key.Public()})
		_ = json.NewEncoder(w).Encode(set)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *elsewhere) sign(t *testing.T, typ string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := e.key.Sign(typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestAnotherIssuerIsHeard, by each of the ways, on the watch of who may see
// its realm, before the answer; and nobody but a client with the scope revokes.
func TestAnotherIssuerIsHeard(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t)
	s := startWith(t, nil, func(c *issuer.Config) {
		c.WatchRealm = "" // so that watchers see no more than their realm speaks for
		c.Receivers = []receiver.Source{{
			Name: "sso", Issuer: e.URL, ClientIDs: []string{"tegata"}, MaxTokenLifetime: time.Hour, Realm: "demo", Events: &receiver.Events{Audience: "tegata"},
		}}
	})
	file := demoRealm()
	file.ClientScopes = append(file.ClientScopes, issuer.ClientScope{Name: receiver.Scope})
	for i := range file.Clients {
		if file.Clients[i].ClientID == "svc" {
			file.Clients[i].OptionalClientScopes = append(file.Clients[i].OptionalClientScopes, receiver.Scope)
		}
	}
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	set := s.watched(t)
	post := func(path, media, authorization, body string) (int, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/receivers/sso/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", media)
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode, resp.Header
	}
	dead := func(tok revocation.Token) bool {
		v := set.Begin()
		defer v.End()
		tok.Issuer = e.URL
		_, dead := v.Revoked(tok)
		return dead
	}
	now := time.Now()
	for _, step := range []struct {
		what   string
		victim revocation.Token
		send   func() (int, http.Header)
		want   int
		actor  revocation.Actor
	}{
		{"a logout", revocation.Token{Session: "S"}, func() (int, http.Header) {
			return post("backchannel-logout", "application/x-www-form-urlencoded", "", url.Values{"logout_token": {e.sign(t, "logout+jwt", map[string]any{
				"iss": e.URL, "aud": "tegata", "iat": now.Unix(), "exp": now.Unix() + 120, "jti": "J", "sid": "S",
				"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
			})}}.Encode())
		}, http.StatusOK, "receiver:sso"},
		{"an event", revocation.Token{Subject: "U", IssuedAt: now.Add(-time.Minute)}, func() (int, http.Header) {
			return post("events", "application/secevent+jwt", "", e.sign(t, "secevent+jwt", map[string]any{
				"iss": e.URL, "aud": "tegata", "iat": now.Unix(), "jti": "J", "sub_id": map[string]any{"format": "iss_sub", "iss": e.URL, "sub": "U"},
				"events": map[string]any{"https://schemas.openid.net/secevent/risc/event-type/account-disabled": map[string]any{}},
			}))
		}, http.StatusAccepted, "receiver:sso"},
		{"a call", revocation.Token{Key: "k9"}, func() (int, http.Header) {
			return post("revocations", "application/json", "Bearer "+s.clientToken(receiver.Scope), `{"kind":"key","id":"k9"}`)
		}, http.StatusOK, "client:svc"},
	} {
		if dead(step.victim) {
			t.Errorf("%s: dead before", step.what)
		}
		status, header := step.send()
		if status != step.want || header.Get(issuer.HeaderRevision) == "" || header.Get(issuer.HeaderPending) != "" {
			t.Errorf("%s: %d %v", step.what, status, header)
		}
		if !dead(step.victim) {
			t.Errorf("%s: answered, and the watcher's token lives", step.what)
		}
		rev, _ := strconv.ParseUint(header.Get(issuer.HeaderRevision), 10, 64)
		if trace, err := s.iss.Revocation(t.Context(), revocation.Revision(rev)); err != nil || trace.Actor != step.actor || trace.Issuer != e.URL {
			t.Errorf("%s: traced as %+v, %v", step.what, trace, err)
		}
	}
	if dead(revocation.Token{Session: "T", Subject: "U", IssuedAt: now.Add(time.Minute)}) {
		t.Error("a later token of that person is dead")
	}
	for what, authorization := range map[string]string{
		"nobody": "", "no token": "Bearer x", "not the scheme": "Basic " + s.clientToken(receiver.Scope), "of another issuer": "Bearer " + e.sign(t, "at+jwt", map[string]any{"iss": e.URL}),
	} {
		if status, header := post("revocations", "application/json", authorization, `{"kind":"issuer"}`); status != http.StatusUnauthorized || header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d", what, status)
		}
	}
	if status, header := post("revocations", "application/json", "Bearer "+s.clientToken("orders:read"), `{"kind":"issuer"}`); status != http.StatusForbidden || !strings.Contains(header.Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("without the scope: %d", status)
	}
}

// TestOurRealmsAreNotForeign: a record without its session's end would be half
// a logout.
func TestOurRealmsAreNotForeign(t *testing.T) {
	t.Parallel()
	stores, db := openStores(t)
	_, err := issuer.New(issuer.Config{
		BaseURL: "https://id.example", Stores: stores, WatchSource: db, Seal: make([]byte, 32),
		Receivers: []receiver.Source{{Name: "a", Issuer: "https://id.example/realms/demo", ClientIDs: []string{"c"}, MaxTokenLifetime: time.Hour}},
	})
	if err == nil || !strings.Contains(err.Error(), "is ours") {
		t.Errorf("err = %v", err)
	}
}
