package issuer_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/sqlstore"
	"github.com/tegata/tegata/revocation"
)

// startTwo starts two issuers on one PostgreSQL database, as replicas behind
// one name. They start at once.
func startTwo(t *testing.T) (a, b *server) {
	t.Helper()
	database, clock := pgtest.URL(t), new(atomic.Int64)
	var both [2]*server
	var wg sync.WaitGroup
	for i := range both {
		db := openConfig(t, sqlstore.Config{Postgres: sqlstore.Postgres{URL: database}})
		wg.Go(func() { both[i] = setup{db: db, clock: clock, change: asReplica(db)}.start(t) })
	}
	wg.Wait()
	if both[0] == nil || both[1] == nil {
		t.FailNow()
	}
	return both[0], both[1]
}

// asReplica gives it the name that both have, and where it finds the other.
func asReplica(db *sqlstore.DB) func(*issuer.Config) {
	return func(c *issuer.Config) { c.BaseURL, c.Replicas = "http://id.example", db }
}

// on is the same browser at another replica. Its cookies go with it: they do
// not know ports.
func (b *browser) on(s *server) *browser { return &browser{t: b.t, s: s, Client: b.Client} }

// TestReplicasShareALogin: each step of a login and of what follows is taken by
// another replica than the step before.
func TestReplicasShareALogin(t *testing.T) {
	t.Parallel()
	one, two := startTwo(t)
	person := newBrowser(t, one)
	page := person.ask(authorize("app", "openid"))
	page = person.on(two).submit(page, "alice", "pw")
	if page.location == nil || page.location.Query().Get("code") == "" {
		t.Fatalf("no code: %d\n%s", page.status, page.body)
	}
	tokens := one.redeem(page.location.Query().Get("code"))
	if !two.active(tokens["access_token"]) {
		t.Error("the other does not know the token")
	}
	if person.on(two).login("app2", "alice", "openid") == "" {
		t.Error("the other does not know the session")
	}
	status, next := two.refresh(tokens["refresh_token"])
	if status != http.StatusOK {
		t.Fatalf("refreshed at the other: %d %v", status, next)
	}

	// A logout at one is over at the other with the answer.
	if status, _ := one.post("logout", "app", "app-secret", url.Values{"refresh_token": {next["refresh_token"].(string)}}); status != http.StatusNoContent {
		t.Fatalf("logout: %d", status)
	}
	for _, s := range []*server{one, two} {
		if s.active(next["access_token"]) {
			t.Error("alive after the logout")
		}
		if status, answer := s.refresh(next["refresh_token"]); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
			t.Errorf("refreshed after the logout: %d %v", status, answer)
		}
	}
	if page := person.on(two).ask(authorize("app", "openid")); page.status != http.StatusOK {
		t.Errorf("the browser is still logged in at the other: %d, %v", page.status, page.location)
	}
}

func (s *server) refresh(token any) (int, map[string]any) {
	s.t.Helper()
	return s.post("token", "app", "app-secret", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.(string)}})
}

// TestReplicasGrantARefreshTokenOnce: of two that come at once to two
// replicas, both get the one successor (the grace of a lost answer); and what
// was used up kills the session, wherever.
func TestReplicasGrantARefreshTokenOnce(t *testing.T) {
	t.Parallel()
	one, two := startTwo(t)
	tokens := one.redeem(newBrowser(t, one).login("app", "alice", "openid"))
	first := tokens["refresh_token"]
	for range 5 {
		var next [2]map[string]any
		var wg sync.WaitGroup
		for i, s := range []*server{one, two} {
			wg.Go(func() {
				var status int
				if status, next[i] = s.refresh(tokens["refresh_token"]); status != http.StatusOK {
					t.Errorf("replica %d: %d %v", i, status, next[i])
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		a, b := payloadOf(t, next[0]["refresh_token"].(string)), payloadOf(t, next[1]["refresh_token"].(string))
		before := payloadOf(t, tokens["refresh_token"].(string))
		if a["gen"] != b["gen"] || a["jti"] != b["jti"] || a["gen"].(float64) != before["gen"].(float64)+1 {
			t.Fatalf("two successors: %v and %v of %v", a["gen"], b["gen"], before["gen"])
		}
		tokens = next[0]
	}
	if status, answer := two.refresh(first); status != http.StatusBadRequest {
		t.Errorf("an old one: %d %v", status, answer)
	}
	if status, _ := one.refresh(tokens["refresh_token"]); status != http.StatusBadRequest || one.active(tokens["access_token"]) {
		t.Error("the session outlives the use of an old token at the other")
	}
}

// TestReplicasRotateKeys without one token that somebody cannot verify, who
// keeps a key set of either for as long as he may.
func TestReplicasRotateKeys(t *testing.T) {
	t.Parallel()
	one, two := startTwo(t)
	both := []*server{one, two}
	turning := demoRealm()
	turning.KeyRotation = 60 * 60 // the next key is published after 50 minutes, and signs after 60
	if err := one.iss.Import(t.Context(), turning); err != nil {
		t.Fatal(err)
	}
	type kept struct {
		set *jose.KeySet
		at  time.Time
	}
	one.clock.Add(int64(49 * time.Minute))
	verifiers := make([]kept, 2)
	kids := map[string]bool{}
	for step := range 40 {
		var wg sync.WaitGroup
		for _, s := range both { // two leaders at once are no harm
			wg.Go(func() {
				if err := s.iss.Sweep(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range verifiers { // one who asks the one, and one who asks the other
			if now := one.now(); verifiers[i].set == nil || now.Sub(verifiers[i].at) >= keys.CacheFor {
				verifiers[i] = kept{both[i].keySet(), now}
			}
		}
		for _, s := range both {
			token := s.clientToken("orders:read")
			h, err := jose.ParseHeader(token)
			if err != nil {
				t.Fatal(err)
			}
			kids[h.KeyID] = true
			for i, v := range verifiers {
				if _, _, err := v.set.Verify(token, jose.Accept{Algorithms: []jose.Algorithm{jose.ES256}, Types: []string{"JWT", "at+jwt"}}); err != nil {
					t.Fatalf("step %d: verifier %d: %v", step, i, err)
				}
			}
			for _, o := range both {
				if !o.active(token) {
					t.Fatalf("step %d: a replica does not take it", step)
				}
			}
		}
		one.clock.Add(int64(25 * time.Second))
	}
	if len(kids) != 2 {
		t.Errorf("signed by %d keys, want two", len(kids))
	}
}

// keySet is what a verifier fetches.
func (s *server) keySet() *jose.KeySet {
	s.t.Helper()
	resp, err := http.Get(s.oidc("certs"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	set, err := jose.ParseKeySet(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return set
}

// TestANewKeyIsKnownToTheOther at once: one that was made for an algorithm
// nobody has asked for before signs without waiting.
func TestANewKeyIsKnownToTheOther(t *testing.T) {
	t.Parallel()
	one, two := startTwo(t)
	if !two.active(two.clientToken("orders:read")) { // it has just read the keys
		t.Fatal("its own token is dead")
	}
	one.change("svc", attributes("access.token.signed.response.alg", "ES512"))
	token := one.clientToken("orders:read")
	if h, err := jose.ParseHeader(token); err != nil || h.Algorithm != jose.ES512 {
		t.Fatalf("%v, %v", h, err)
	}
	if !two.active(token) {
		t.Error("the other does not take it")
	}
}

// TestARevocationAtOneIsInForceAtTheOther: who watches the one has applied what
// was revoked at the other when that answers, and the answer says so.
func TestARevocationAtOneIsInForceAtTheOther(t *testing.T) {
	t.Parallel()
	one, two := startTwo(t)
	set := two.watched(t)
	for range 5 {
		token := one.clientToken("orders:read")
		status, header, _ := one.call("revoke", url.Values{"token": {token}}, basic("svc"))
		if status != http.StatusOK || header.Get(issuer.HeaderApplied) != "1" || header.Get(issuer.HeaderPending) != "" {
			t.Fatalf("%d, %v", status, header)
		}
		claims := payloadOf(t, token)
		view := set.Begin()
		_, dead := view.Revoked(revocation.Token{
			Issuer: "http://id.example/realms/demo", ID: claims["jti"].(string), Client: "svc", HasRev: true, Rev: revocation.Revision(claims["rev"].(float64)),
		})
		view.End()
		if !dead {
			t.Error("alive where the other is watched, after the answer")
		}
	}
}

// TestReplicasTellALogoutOnce, though both look for whom to tell.
func TestReplicasTellALogoutOnce(t *testing.T) {
	t.Parallel()
	one, two := startTwo(t)
	rp := listen(t, http.StatusOK)
	one.change("app", attributes("backchannel.logout.url", rp.URL))
	const people = 10
	for i := range people {
		s := []*server{one, two}[i%2]
		tokens := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))
		if status, _ := s.post("logout", "app", "app-secret", url.Values{"refresh_token": {tokens["refresh_token"].(string)}}); status != http.StatusNoContent {
			t.Fatalf("logout: %d", status)
		}
	}
	told := map[string]int{}
	for range people {
		told[fmt.Sprint(payloadOf(t, rp.next(t))["sid"])]++
	}
	if len(told) != people {
		t.Errorf("told of %d sessions, want %d: %v", len(told), people, told)
	}
	for _, s := range []*server{one, two} { // nothing is left to tell
		if err := s.iss.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
	}
	select {
	case again := <-rp.heard:
		t.Errorf("told again: %v", payloadOf(t, again)["sid"])
	default:
	}
}
