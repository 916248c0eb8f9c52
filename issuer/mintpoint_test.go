package issuer_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/recent"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/revocation"
)

// replica is one of several processes on one store.
type replica struct {
	*issuer.Issuer
	now time.Time
}

func (r *replica) clock() time.Time { return r.now }

// mint asks for a token by client credentials.
func (r *replica) mint(t testing.TB) (int, string) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	answer := r.post("token", "svc", form)
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	return answer.Code, body.Token
}

func (r *replica) post(path, client string, form url.Values) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, modelBase+"/realms/demo/protocol/openid-connect/"+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, client+"-secret")
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	return w
}

// switched is the realm with client svc off or on, and nothing else.
func switched(on bool) issuer.Realm {
	file := demoRealm()
	file.Users, file.Clients = nil, file.Clients[3:4]
	file.Clients[0].Enabled = &on
	return file
}

// A client that is disabled gets no more tokens from the process that knows.
// Another may mint for a moment from what it remembers; such a token is dead
// from the beginning where the kill is known, and as long as it would live.
func TestAStaleMintIsDeadWhereTheKillIsKnown(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		testStaleMint(t, sqlstore.Config{Path: filepath.Join(t.TempDir(), "tegata.db")})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		testStaleMint(t, sqlstore.Config{Postgres: sqlstore.Postgres{URL: pgtest.URL(t)}})
	})
}

func testStaleMint(t *testing.T, store sqlstore.Config) {
	here, there := &replica{now: modelNow}, &replica{now: modelNow}
	iss, db := openIssuerOn(t, store, here.clock)
	here.Issuer = iss
	other, otherDB := openIssuerOn(t, store, there.clock)
	there.Issuer = other
	t.Cleanup(func() { _, _ = db.Close(), otherDB.Close() })
	if err := here.Import(t.Context(), modelRealm()); err != nil {
		t.Fatal(err)
	}

	here.mint(t) // and remembers
	there.mint(t)
	if err := here.Import(t.Context(), switched(false)); err != nil {
		t.Fatal(err)
	}
	if status, _ := here.mint(t); status == http.StatusOK {
		t.Error("the process that disabled the client mints for it")
	}
	status, stale := there.mint(t)
	if status != http.StatusOK {
		t.Fatalf("the other process remembers nothing: %d", status)
	}
	var claims struct {
		Issuer string              `json:"iss"`
		ID     string              `json:"jti"`
		Rev    revocation.Revision `json:"rev"`
		Exp    int64               `json:"exp"`
	}
	if b, err := base64.RawURLEncoding.DecodeString(strings.Split(stale, ".")[1]); err != nil || json.Unmarshal(b, &claims) != nil {
		t.Fatal("the token is none")
	}
	records, head, err := db.Since(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	set := revocation.NewSet()
	set.Apply(records, head)
	view := set.Begin()
	defer view.End()
	record, dead := view.Revoked(revocation.Token{Issuer: claims.Issuer, ID: claims.ID, Client: "svc", Rev: claims.Rev, HasRev: true})
	if !dead {
		t.Error("the token is alive where the kill is known")
	}
	for _, r := range records {
		if r.Revision == record.Revision && r.ExpiresAt.Before(time.Unix(claims.Exp, 0)) {
			t.Error("the record of the kill goes before the token")
		}
	}
	for name, r := range map[string]*replica{"here": here, "there": there} {
		if about := r.post("token/introspect", "gw", url.Values{"token": {stale}}).Body.String(); strings.Contains(about, `"active":true`) {
			t.Errorf("introspection %s: %s", name, about)
		}
	}

	there.now = there.now.Add(recent.MaxAge) // older than anything is remembered
	if status, _ := there.mint(t); status == http.StatusOK {
		t.Error("the other process never notices")
	}
	if err := here.Import(t.Context(), switched(true)); err != nil {
		t.Fatal(err)
	}
	_, fresh := here.mint(t)
	if about := here.post("token/introspect", "gw", url.Values{"token": {fresh}}).Body.String(); !strings.Contains(about, `"active":true`) {
		t.Errorf("a token from after the kill is dead: %s", about)
	}
}

// What a minute of tokens needs is in the store before the first of them goes
// out: a kill after a crash still has a record that outlives them all.
func TestMarksAreReservedAhead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tegata.db")
	if err := os.WriteFile(path, importedStore(t), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &replica{now: modelNow}
	iss, db := openIssuer(t, path, r.clock)
	r.Issuer = iss
	var exp time.Time
	for range 200 { // over several minutes, at any second of them
		status, compact := r.mint(t)
		if status != http.StatusOK {
			t.Fatalf("not minted: %d", status)
		}
		var claims struct {
			Exp int64 `json:"exp"`
		}
		if b, err := base64.RawURLEncoding.DecodeString(strings.Split(compact, ".")[1]); err != nil || json.Unmarshal(b, &claims) != nil {
			t.Fatal("the token is none")
		}
		exp = time.Unix(claims.Exp, 0)
		r.now = r.now.Add(977 * time.Millisecond)
	}
	if err := db.Close(); err != nil { // all that was in memory is gone
		t.Fatal(err)
	}
	r.now = r.now.Add(-time.Hour) // and the clock cannot be trusted
	iss, db = openIssuer(t, path, r.clock)
	t.Cleanup(func() { _ = db.Close() })
	if err := iss.Import(t.Context(), switched(false)); err != nil {
		t.Fatal(err)
	}
	records, _, err := db.Since(t.Context(), 0, 100)
	if err != nil || len(records) != 2 { // of the client, and of its service account
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		if r.ExpiresAt.Before(exp) {
			t.Errorf("a record goes %v before the last token", exp.Sub(r.ExpiresAt))
		}
	}
}
