package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// These tests run the session service on the store: what must hold of both
// together, whatever happens at once.
var togetherTests = []test{
	{"of a storm on one refresh token comes one chain", testRefreshStorm},
	{"of a storm on one code comes one session at most", testCodeStorm},
	{"a kill beats every mint that it overtakes", testKillMint},
	{"what ended stays ended, whoever had seen it alive", testNoReturn},
	{"a clock that steps back changes nothing", testClockBack},
	{"sweeping changes nothing for who resumes", testSweepResume},
}

// world is the session service on a store, with a clock of its own.
type world struct {
	*session.Sessions
	store Store
	realm realm.Realm

	mu  sync.Mutex
	now time.Time
}

func newWorld(t testing.TB, s Store) *world {
	t.Helper()
	w := &world{store: s, realm: settle(t, s), now: noon}
	var err error
	if w.Sessions, err = session.New(session.Config{Store: s.Sessions(), Now: w.clock, Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

const life = 5 * time.Minute

// login opens a session and returns a code for it.
func (w *world) login(t testing.TB) (session.UserSession, string) {
	t.Helper()
	u, _, err := w.Open(t.Context(), session.Login{Realm: w.realm, UserID: "u-1"})
	if err != nil {
		t.Fatal(err)
	}
	code, err := w.IssueCode(t.Context(), w.realm, session.Code{SessionID: u.ID, ClientID: "shop", Scope: "openid"})
	if err != nil {
		t.Fatal(err)
	}
	return u, code
}

// redeem redeems a code.
func (w *world) redeem(ctx context.Context, code string) (session.Grant, error) {
	_, g, err := w.RedeemCode(ctx, session.Redeeming{Realm: w.realm, Code: code, AccessLife: life, Check: func(session.Code) error { return nil }})
	return g, err
}

// grant logs in and redeems.
func (w *world) grant(t testing.TB) session.Grant {
	t.Helper()
	_, code := w.login(t)
	g, err := w.redeem(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// present is the refresh token of a grant.
func (w *world) present(g session.Grant) session.Refreshing {
	return session.Refreshing{
		Realm: w.realm, SessionID: g.User.ID, ClientID: g.Client.ClientID, UserID: g.User.UserID,
		FamilyID: g.Family.ID, Generation: g.Family.Generation, AccessLife: life,
	}
}

// token is the access token of a grant, for the mesh.
func (w *world) token(g session.Grant, jti string) revocation.Token {
	return revocation.Token{
		Issuer: w.realm.Issuer, ID: jti, Session: g.User.ID, Subject: g.User.UserID, Client: g.Client.ClientID,
		Rev: g.Rev, HasRev: true, IssuedAt: w.clock(),
	}
}

// alive asks the service about an access token.
func (w *world) alive(t testing.TB, tok revocation.Token) error {
	t.Helper()
	err := w.Alive(t.Context(), session.Subject{Realm: w.realm, Token: tok})
	var dead *session.Dead
	if err != nil && !errors.As(err, &dead) {
		t.Fatal(err)
	}
	return err
}

func testRefreshStorm(t *testing.T, s Store) {
	w := newWorld(t, s)
	g := w.grant(t)
	const parallel = 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	generations, refused := map[uint64]int{}, 0
	for range parallel {
		wg.Go(func() {
			next, err := w.Refresh(t.Context(), w.present(g))
			mu.Lock()
			defer mu.Unlock()
			var dead *session.Dead
			switch {
			case err == nil:
				generations[next.Family.Generation]++
			case errors.Is(err, session.ErrReused), errors.As(err, &dead):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// The first wins, some get the same successor once more, and then the
	// client session is ended: fifty is no lost answer.
	if len(generations) != 1 || generations[2] == 0 || generations[2]+refused != parallel || refused == 0 {
		t.Errorf("generations %v, %d refused: want one chain", generations, refused)
	}
	var dead *session.Dead
	if err := w.alive(t, w.token(g, "a")); !errors.As(err, &dead) {
		t.Errorf("after the storm the client session is alive: %v", err)
	}
}

func testCodeStorm(t *testing.T, s Store) {
	w := newWorld(t, s)
	_, code := w.login(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 20 {
		wg.Go(func() {
			_, err := w.redeem(t.Context(), code)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, session.ErrCodeReused):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d redeemed the code, want 1", won)
	}
}

// testKillMint: while sessions are opened, refreshed and killed at once, no
// token is believed, by the service or by the mesh, that was minted at a
// revision before a kill which matches it; and who logs in after a kill is
// believed.
func testKillMint(t *testing.T, s Store) {
	w := newWorld(t, s)
	const rounds = 40
	seed := mathrand.Uint64()
	t.Logf("seed %d", seed)
	rng := mathrand.New(mathrand.NewPCG(seed, 1))
	for round := range rounds {
		g := w.grant(t)
		kills := []func() (revocation.Revision, error){
			func() (revocation.Revision, error) {
				return w.EndUser(t.Context(), w.realm, "u-1", revocation.ReasonLogout)
			},
			func() (revocation.Revision, error) {
				return w.EndClient(t.Context(), w.realm, "shop", revocation.ReasonRevoked)
			},
			func() (revocation.Revision, error) { return w.EndRealm(t.Context(), w.realm, revocation.ReasonRevoked) },
			func() (revocation.Revision, error) {
				return w.End(t.Context(), w.realm, g.User.ID, revocation.ReasonLogout)
			},
			func() (revocation.Revision, error) {
				return w.EndClientSession(t.Context(), w.realm, g.User.ID, "shop", revocation.ReasonRevoked)
			},
		}
		kill := kills[rng.IntN(len(kills))]
		var minted []session.Grant
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				current := g
				for range 4 {
					next, err := w.Refresh(t.Context(), w.present(current))
					if err != nil {
						return // killed, or another was faster
					}
					mu.Lock()
					minted = append(minted, next)
					mu.Unlock()
					current = next
				}
			})
		}
		var rev revocation.Revision
		wg.Go(func() {
			var err error
			if rev, err = kill(); err != nil && !errors.Is(err, session.ErrNotFound) {
				t.Error(err)
			}
		})
		wg.Wait()
		if rev == 0 {
			continue // reuse in the race ended the client session first
		}
		mesh := revocation.NewSet()
		records, err := since(t.Context(), s, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		mesh.Apply(records, records[len(records)-1].Revision)
		view := mesh.Begin()
		for i, m := range append(minted, g) {
			tok := w.token(m, fmt.Sprint("t-", round, "-", i))
			if err := w.alive(t, tok); err == nil {
				t.Errorf("round %d: the service believes a token of revision %d after the kill at %d", round, m.Rev, rev)
			}
			if _, dead := view.Revoked(tok); !dead {
				t.Errorf("round %d: the mesh believes a token of revision %d after the kill at %d", round, m.Rev, rev)
			}
		}
		again := w.grant(t)
		tok := w.token(again, fmt.Sprint("n-", round))
		if err := w.alive(t, tok); err != nil {
			t.Errorf("round %d: a login after the kill is not believed: %v", round, err)
		}
		if record, dead := view.Revoked(tok); dead {
			t.Errorf("round %d: the mesh refuses a login after the kill, by %+v", round, record)
		}
		view.End()
	}
}

func testClockBack(t *testing.T, s Store) {
	w := newWorld(t, s)
	killed, kept := w.grant(t), w.grant(t)
	if _, err := w.End(t.Context(), w.realm, killed.User.ID, revocation.ReasonLogout); err != nil {
		t.Fatal(err)
	}
	w.pass(-time.Hour)
	if err := w.alive(t, w.token(killed, "a")); err == nil {
		t.Error("a killed token is alive again")
	}
	if err := w.alive(t, w.token(kept, "b")); err != nil {
		t.Errorf("a token that lived is dead: %v", err)
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	rev, err := w.End(t.Context(), w.realm, kept.User.ID, revocation.ReasonLogout)
	if err != nil {
		t.Fatal(err)
	}
	records, err := since(t.Context(), s, 0, 10)
	if err != nil || len(records) != int(rev) {
		t.Fatalf("%d records, %v, want %d", len(records), err, rev)
	}
	last := records[len(records)-1]
	if !last.ExpiresAt.After(w.token(kept, "b").IssuedAt.Add(life)) {
		t.Errorf("the record ends at %v, before the token that it kills", last.ExpiresAt)
	}
	if last.CommittedAt.Before(records[0].CommittedAt) {
		t.Error("a later record was committed earlier")
	}
}

// testSweepResume: who resumes after a sweep, and who begins anew, refuse the
// same tokens as who was there all the time.
func testSweepResume(t *testing.T, s Store) {
	w := newWorld(t, s)
	always, resumed := revocation.NewSet(), revocation.NewSet()
	var all []revocation.Token
	var cursor revocation.Revision
	for round := range 12 {
		g := w.grant(t)
		all = append(all, w.token(g, fmt.Sprint("t-", round)))
		if round%2 == 0 {
			if _, err := w.End(t.Context(), w.realm, g.User.ID, revocation.ReasonLogout); err != nil {
				t.Fatal(err)
			}
		}
		records, err := since(t.Context(), s, cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		_, head, err := s.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		always.Apply(records, head)
		if round == 5 {
			resumed.Apply(mustSince(t, s, 0), head)
		}
		cursor = head
		w.pass(2 * time.Minute)
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fresh := revocation.NewSet()
	fresh.Replace(mustSince(t, s, 0), cursor)
	resumed.Apply(mustSince(t, s, resumed.Revision()), cursor)
	now := w.clock()
	for i, tok := range all {
		if now.After(tok.IssuedAt.Add(life)) {
			continue // nobody believes it any more
		}
		want := revoked(always, tok)
		if got := revoked(resumed, tok); got != want {
			t.Errorf("token %d: revoked for who resumed: %v, for who stayed: %v", i, got, want)
		}
		if got := revoked(fresh, tok); got != want {
			t.Errorf("token %d: revoked for who is new: %v, for who stayed: %v", i, got, want)
		}
	}
	if len(mustSince(t, s, 0)) == int(cursor) {
		t.Error("nothing was swept: the test shows nothing")
	}
}

func mustSince(t testing.TB, s Store, after revocation.Revision) []revocation.Record {
	t.Helper()
	records, err := since(t.Context(), s, after, 100)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func revoked(s *revocation.Set, tok revocation.Token) bool {
	v := s.Begin()
	defer v.End()
	_, dead := v.Revoked(tok)
	return dead
}

// testNoReturn: a session ends between the reading and the writing of a
// transaction that goes on as if it were alive. One of the two then has to be
// as if it had come first, and the session gone.
func testNoReturn(t *testing.T, s Store) {
	settle(t, s)
	write(t, s, func(tx session.Tx) error { return tree(tx, "s") })
	saw, ended := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		first := true
		_, err := s.Sessions().Write(t.Context(), func(tx session.Tx) error {
			u, err := tx.UserSession("r-1", "s")
			if first {
				first = false
				close(saw)
				// An engine with one writer ends nothing before this has.
				select {
				case <-ended:
				case <-time.After(200 * time.Millisecond):
				}
			}
			if errors.Is(err, session.ErrNotFound) {
				return nil
			}
			return errors.Join(err, tx.PutUserSession(u))
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-saw
	write(t, s, func(tx session.Tx) error { return tx.DeleteUserSession("s") })
	close(ended)
	wg.Wait()
	same(t, "sessions", "", left(t, s, "s"))
}
