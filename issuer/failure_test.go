package issuer_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// faulty is a store of sessions that fails while it is told to.
type faulty struct {
	session.Store
	broken *atomic.Bool
}

var errDisk = errors.New("the disk at /dev/secret is gone")

func (f faulty) Read(ctx context.Context, do func(session.View) error) error {
	if f.broken.Load() {
		return errDisk
	}
	return f.Store.Read(ctx, do)
}

func (f faulty) Write(ctx context.Context, do func(session.Tx) error) (revocation.Revision, error) {
	if f.broken.Load() {
		return 0, errDisk
	}
	return f.Store.Write(ctx, do)
}

// TestAFailureOfTheStoreIsNoVerdict: who asks while the store fails hears that
// we cannot say, not that a token is dead, that it is alive, or that it was
// revoked; and nothing of what failed.
func TestAFailureOfTheStoreIsNoVerdict(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	stores, db := openStores(t)
	stores.Sessions = faulty{stores.Sessions, &broken}
	web := httptest.NewUnstartedServer(nil)
	s := &server{t: t, log: newLockedBuffer(), clock: new(atomic.Int64), base: "http://" + web.Listener.Addr().String()}
	var err error
	if s.iss, err = issuer.New(issuer.Config{BaseURL: s.base, Stores: stores, WatchSource: db, Seal: bytes.Repeat([]byte{1}, 32), NewStore: true, RevokeWait: -1}); err != nil {
		t.Fatal(err)
	}
	if err := s.iss.Import(t.Context(), demoRealm()); err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = s.iss.Handler()
	web.Start()
	t.Cleanup(web.Close)

	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	code := b.login("app", "alice", "openid")
	access, refresh := tokens["access_token"].(string), tokens["refresh_token"].(string)
	broken.Store(true)
	for _, tt := range []struct {
		name, path, client string
		form               url.Values
	}{
		{"introspection", "token/introspect", "rs", form("token", access)},
		{"introspection of a refresh token", "token/introspect", "app", form("token", refresh, "token_type_hint", "refresh_token")},
		{"UserInfo", "userinfo", "", form("access_token", access)},
		{"revocation", "revoke", "app", form("token", access)},
		{"revocation of a refresh token", "revoke", "app", form("token", refresh)},
		{"logout", "logout", "app", form("refresh_token", refresh)},
		{"a code", "token", "app", codeForm(code)},
		{"refresh", "token", "app", form("grant_type", "refresh_token", "refresh_token", refresh)},
		{"a password", "token", "direct", form("grant_type", "password", "username", "alice", "password", "pw")},
		{"a pushed request", "ext/par/request", "app", authorize("app", "openid")},
	} {
		var header http.Header
		if tt.client != "" {
			header = basic(tt.client)
		}
		status, _, answer := s.call(tt.path, tt.form, header)
		if status != http.StatusInternalServerError || answer["error"] != "server_error" || answer["active"] != nil || strings.Contains(answer["error_description"].(string), "disk") {
			t.Errorf("%s: %d %v", tt.name, status, answer)
		}
	}
	for name, p := range map[string]page{
		"authorization": b.ask(authorize("app", "openid")),
		"logout":        b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}}),
	} {
		if p.status == http.StatusOK || strings.Contains(p.body, "disk") || p.location != nil && p.location.Query().Get("error") != "server_error" {
			t.Errorf("%s: %d %v\n%s", name, p.status, p.location, p.body)
		}
	}

	broken.Store(false)
	if !s.active(access) {
		t.Error("the token has died of it")
	}
	if status, answer := s.refreshed("app", tokens, nil); status != http.StatusOK {
		t.Errorf("refresh: %d %v", status, answer)
	}
	if status, _, answer := s.call("token", codeForm(code), basic("app")); status != http.StatusOK {
		t.Errorf("the code: %d %v", status, answer)
	}
}
