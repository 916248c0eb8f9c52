package session_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// TestRefreshByGeneration: what a presented generation is worth, after how
// many rotations, how much later, and how often it was forgiven before
// (defaults: 3 times within 10 seconds).
func TestRefreshByGeneration(t *testing.T) {
	t.Parallel()
	const grace = 10 * time.Second
	for name, tt := range map[string]struct {
		newest    uint64        // generation handed out last
		pass      time.Duration // since then
		again     int           // the one before was presented so often already
		presented uint64
		want      uint64 // generation handed out; 0: reused
		reuses    int
	}{
		"the newest":                           {newest: 1, presented: 1, want: 2},
		"the newest, later":                    {newest: 4, pass: 20 * time.Minute, presented: 4, want: 5},
		"the newest, after reuse was forgiven": {newest: 4, again: 3, presented: 4, want: 5},
		"the one before, at once":              {newest: 2, presented: 1, want: 2, reuses: 1},
		"the one before, at the end of grace":  {newest: 2, pass: grace, presented: 1, want: 2, reuses: 1},
		"the one before, after grace":          {newest: 2, pass: grace + time.Microsecond, presented: 1},
		"the one before, for the third time":   {newest: 2, again: 2, presented: 1, want: 2, reuses: 3},
		"the one before, for the fourth time":  {newest: 2, again: 3, presented: 1},
		"two before":                           {newest: 3, presented: 1},
		"one that was never handed out":        {newest: 2, presented: 3},
		"one far ahead":                        {newest: 2, presented: 1 << 62},
		"none, of a new family":                {newest: 1, presented: 0},
		"none, of an old one":                  {newest: 5, presented: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := w.login()
			for g.Family.Generation < tt.newest {
				var err error
				g, err = w.Refresh(t.Context(), w.present(g))
				w.must(err)
			}
			p := w.present(g)
			for range tt.again {
				p.Generation = tt.newest - 1
				_, err := w.Refresh(t.Context(), p)
				w.must(err)
			}
			w.pass(tt.pass)
			p.Generation = tt.presented
			alive := w.Alive(t.Context(), session.Subject{Realm: w.realm, Token: w.token(g), FamilyID: g.Family.ID, Generation: tt.presented})
			next, err := w.Refresh(t.Context(), p)
			if tt.want == 0 {
				if got := w.why(alive); got != session.Revoked {
					t.Errorf("Alive = %q, Refresh refuses it", got)
				}
				checkReused(t, w, g, err)
				return
			}
			w.must(err)
			w.must(alive)
			if next.Family.Generation != tt.want || next.Family.Reuses != tt.reuses {
				t.Errorf("got generation %d (%d reuses), want %d (%d)", next.Family.Generation, next.Family.Reuses, tt.want, tt.reuses)
			}
			if len(w.records()) != 0 {
				t.Errorf("revoked %+v", w.records())
			}
		})
	}
}

// checkReused: reuse ends the client session with its chains, and the login
// if no other client is in it, and is told.
func checkReused(t *testing.T, w *world, g session.Grant, err error) {
	t.Helper()
	if !errors.Is(err, session.ErrReused) {
		t.Fatalf("got %v, want ErrReused", err)
	}
	var got []revocation.Target
	for _, r := range w.records() {
		got = append(got, r.Target)
		if r.Reason != revocation.ReasonRefreshReuse {
			t.Errorf("reason %q", r.Reason)
		}
	}
	diff(t, "revoked", []revocation.Target{
		{Kind: revocation.KindClientSession, ID: g.User.ID, Client: "shop"},
		{Kind: revocation.KindSession, ID: g.User.ID},
	}, got)
	_, err = w.Refresh(t.Context(), w.present(g))
	if got := w.why(err); got != session.NoSession {
		t.Errorf("the newest after it: %q", got)
	}
	if log := w.log.String(); !strings.Contains(log, "level=WARN msg=revoked") || !strings.Contains(log, "reason=refresh_reuse") {
		t.Errorf("log: %s", log)
	}
}

// TestForgivenReuseIsOneSuccessor: whoever presents the same token gets the
// very same successor, of which the refresh token is made (store.md §3).
func TestForgivenReuseIsOneSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.login()
	w.pass(time.Second)
	next, err := w.Refresh(t.Context(), w.present(first))
	w.must(err)
	if next.Family.Rotated != w.now {
		t.Errorf("rotated at %v, want %v", next.Family.Rotated, w.now)
	}
	w.pass(time.Second)
	again, err := w.Refresh(t.Context(), w.present(first))
	w.must(err)
	next.Family.Reuses = 1
	diff(t, "the successor", next.Family, again.Family)
}

func TestGraceAndReusesAreTheRealms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realm.Settings = realm.Settings{RefreshGrace: time.Minute, RefreshMaxReuse: 1}
	g := w.login()
	_, err := w.Refresh(t.Context(), w.present(g))
	w.must(err)
	w.pass(time.Minute)
	if _, err := w.Refresh(t.Context(), w.present(g)); err != nil {
		t.Errorf("within the realm's grace: %v", err)
	}
	if _, err := w.Refresh(t.Context(), w.present(g)); !errors.Is(err, session.ErrReused) {
		t.Errorf("more often than the realm forgives: %v", err)
	}
}

// TestReuseLeavesOtherClients: the login and the clients in it that lost
// nothing go on.
func TestReuseLeavesOtherClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shop := w.login()
	app := w.enter(shop.User.ID, "app")
	other := w.enter(shop.User.ID, "shop") // another chain of the same client
	p := w.present(shop)
	p.Generation = 7
	if _, err := w.Refresh(t.Context(), p); !errors.Is(err, session.ErrReused) {
		t.Fatal(err)
	}
	if _, err := w.Refresh(t.Context(), w.present(app)); err != nil {
		t.Errorf("another client: %v", err)
	}
	_, err := w.Refresh(t.Context(), w.present(other))
	if got := w.why(err); got != session.NoClientSession {
		t.Errorf("another chain of the client: %q", got)
	}
	if n := len(w.records()); n != 1 {
		t.Errorf("%d records, want the client session's alone", n)
	}
}

// TestRefreshOfTheDead: who is refused, and why; a refusal changes nothing.
func TestRefreshOfTheDead(t *testing.T) {
	t.Parallel()
	for _, tt := range deaths {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := w.login()
			tt.change(w, g)
			before := len(w.records())
			_, err := w.Refresh(t.Context(), w.present(g))
			if got := w.why(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if n := len(w.records()) - before; n != 0 {
				t.Errorf("%d records were written", n)
			}
		})
	}
}

// TestRefreshBelongsTogether: a family is good with its own session, client
// and subject only, and a mixture harms nobody.
func TestRefreshBelongsTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, other := w.login(), w.login()
	app := w.enter(g.User.ID, "app")
	for name, tt := range map[string]struct {
		change func(*session.Refreshing)
		want   string
	}{
		"another session":          {func(p *session.Refreshing) { p.SessionID = other.User.ID }, session.NoClientSession},
		"no session":               {func(p *session.Refreshing) { p.SessionID = "" }, session.NoSession},
		"another client":           {func(p *session.Refreshing) { p.ClientID = "app" }, session.NoClientSession},
		"an unknown client":        {func(p *session.Refreshing) { p.ClientID = "none" }, session.ClientDisabled},
		"another user":             {func(p *session.Refreshing) { p.UserID = "u-2" }, session.NoSession},
		"another family":           {func(p *session.Refreshing) { p.FamilyID = other.Family.ID }, session.NoClientSession},
		"another client's family":  {func(p *session.Refreshing) { p.FamilyID = app.Family.ID }, session.NoClientSession},
		"a family that is unknown": {func(p *session.Refreshing) { p.FamilyID = "none" }, session.NoClientSession},
		"another realm": {func(p *session.Refreshing) {
			p.Realm.ID, p.Realm.Name = "r-9", "nine"
		}, session.RealmDisabled},
	} {
		p := w.present(g)
		tt.change(&p)
		_, err := w.Refresh(t.Context(), p)
		if got := w.why(err); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	for _, kept := range []session.Grant{g, other, app} {
		if _, err := w.Refresh(t.Context(), w.present(kept)); err != nil {
			t.Errorf("what was mixed up is dead: %v", err)
		}
	}
}

// TestRefreshKeepsASessionFromIdling, up to its max lifetime, and writes the
// rows once a minute at most.
func TestRefreshKeepsASessionFromIdling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.login()
	for w.now.Before(noon.Add(10*time.Hour - 30*time.Minute)) {
		w.pass(30 * time.Minute)
		var err error
		g, err = w.Refresh(t.Context(), w.present(g))
		w.must(err)
		if g.User.LastSeen != w.now || g.User.Idle != w.now.Add(31*time.Minute) || g.Client.LastSeen != w.now {
			t.Fatalf("at %v: %+v", w.now, g)
		}
	}
	seen := w.now
	w.pass(59 * time.Second)
	g, err := w.Refresh(t.Context(), w.present(g))
	w.must(err)
	if g.User.LastSeen != seen {
		t.Errorf("seen at %v is written after %v", g.User.LastSeen, w.now.Sub(seen))
	}
	if g.Expires != noon.Add(10*time.Hour) {
		t.Errorf("a grant until %v, beyond the session", g.Expires)
	}
	w.now = noon.Add(10*time.Hour - time.Microsecond)
	g, err = w.Refresh(t.Context(), w.present(g))
	w.must(err)
	if g.User.MaxAccessExp != noon.Add(10*time.Hour) {
		t.Errorf("mark %v, want the session's end", g.User.MaxAccessExp)
	}
	w.now = noon.Add(10 * time.Hour)
	_, err = w.Refresh(t.Context(), w.present(g))
	if got := w.why(err); got != session.Expired {
		t.Errorf("at max lifetime: %q", got)
	}
}

// TestMarksFollowTheTokens: a record lives until the last token that it can
// match has expired, so every mint leaves a mark no lower than its exp.
func TestMarksFollowTheTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, exp := w.login(), noon.Add(life)
	for _, step := range []struct{ pass, life time.Duration }{
		{time.Second, time.Minute}, {time.Second, life}, {20 * time.Second, time.Hour}, {time.Second, time.Second}, {40 * time.Second, life}, {-time.Hour, life},
	} {
		w.pass(step.pass)
		p := w.present(g)
		p.AccessLife = step.life
		var err error
		g, err = w.Refresh(t.Context(), p)
		w.must(err)
		exp = latest(exp, w.now.Add(step.life))
		w.view(func(v session.View) error {
			user, err1 := v.UserSession("r-1", g.User.ID)
			in, err2 := v.ClientSession(g.User.ID, "shop")
			realm, err3 := v.RealmStanding("r-1")
			client, err4 := v.ClientStanding("r-1", "shop")
			for what, mark := range map[string]time.Time{
				"session": user.MaxAccessExp, "client session": in.MaxAccessExp, "realm": realm.MaxAccessExp, "client": client.MaxAccessExp,
			} {
				if mark.Before(exp) || mark.After(noon.Add(time.Hour+2*time.Minute)) {
					t.Errorf("a token until %v, but the mark of the %s is %v", exp, what, mark)
				}
			}
			return errors.Join(err1, err2, err3, err4)
		})
	}
}

// TestAShortIdleTimeIsHardlyLonger: that uses are written now and then makes
// the idle time longer, by a tenth at most.
func TestAShortIdleTimeIsHardlyLonger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.realm.Settings.SSOSessionIdleTimeout = 100 * time.Second
	g := w.login()
	if want := noon.Add(110 * time.Second); g.User.Idle != want {
		t.Errorf("idle at %v, want %v", g.User.Idle, want)
	}
	for _, pass := range []time.Duration{9, 91, 99} {
		w.pass(pass * time.Second)
		var err error
		if g, err = w.Refresh(t.Context(), w.present(g)); err != nil {
			t.Errorf("used %d s after the last use: %v", pass, err)
		}
	}
}

// TestMintPointMarksBoth: a client's mark rises though its realm's is high.
func TestMintPointMarksBoth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rev(w.MintPoint(t.Context(), w.realm, "app", time.Hour))
	w.rev(w.MintPoint(t.Context(), w.realm, "shop", life))
	w.view(func(v session.View) error {
		r, err1 := v.RealmStanding("r-1")
		app, err2 := v.ClientStanding("r-1", "app")
		shop, err3 := v.ClientStanding("r-1", "shop")
		diff(t, "marks of realm, app and shop", []time.Time{noon.Add(time.Hour), noon.Add(time.Hour), noon.Add(life)},
			[]time.Time{r.MaxAccessExp, app.MaxAccessExp, shop.MaxAccessExp})
		return errors.Join(err1, err2, err3)
	})
}

func TestMintPoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mint := func(clientID string) (revocation.Revision, error) {
		return w.MintPoint(t.Context(), w.realm, clientID, life)
	}
	mark := func() time.Time {
		var st session.Standing
		w.view(func(v session.View) (err error) { st, err = v.ClientStanding("r-1", "shop"); return err })
		return st.MaxAccessExp
	}
	rev, err := mint("shop")
	if err != nil || rev != 0 || mark() != noon.Add(life) {
		t.Errorf("got %d, %v, mark %v", rev, err, mark())
	}
	w.pass(time.Second)
	_, err = mint("shop")
	if want := noon.Add(life + time.Minute); err != nil || mark() != want {
		t.Errorf("%v, mark %v, want the next full minute %v", err, mark(), want)
	}
	killed, err := w.EndClient(t.Context(), w.realm, "shop", revocation.ReasonAdmin)
	w.must(err)
	rev, err = mint("shop")
	if err != nil || rev != killed {
		t.Errorf("after a kill at %d: %d, %v", killed, rev, err)
	}
	for name, tt := range map[string]struct {
		client string
		change func()
		want   string
	}{
		"unknown":  {"none", func() {}, session.ClientDisabled},
		"disabled": {"shop", func() { w.putClient("shop", false) }, session.ClientDisabled},
	} {
		tt.change()
		_, err := mint(tt.client)
		if got := w.why(err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	off := w.realm
	off.Enabled = false
	w.putRealm(off)
	_, err = mint("app")
	if got := w.why(err); got != session.RealmDisabled {
		t.Errorf("in a disabled realm: %q", got)
	}
}

// TestMintPointWritesOnceAMinute: minting for a machine costs a read.
func TestMintPointWritesOnceAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	counted := &counter{Store: w.db.Sessions()}
	s := w.on(counted)
	for range 121 { // two minutes, both ends
		_, err := s.MintPoint(t.Context(), w.realm, "shop", life)
		w.must(err)
		w.pass(time.Second)
	}
	if counted.writes != 3 {
		t.Errorf("%d writes in two minutes, want 3", counted.writes)
	}
}

// TestKeptRefreshTokens stay good for as long as the session is used, and their
// copies are no reuse (FAPI 2.0 §5.3.2.1).
func TestKeptRefreshTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.login()
	p := w.present(first)
	p.Keep = true
	for range 5 {
		w.pass(20 * time.Minute)
		g, err := w.Refresh(t.Context(), p)
		if err != nil || g.Family.Generation != first.Family.Generation || !g.Family.Rotated.Equal(w.now) {
			t.Fatalf("%+v, %v", g.Family, err)
		}
	}
	// Of a chain that was rotated before, the older ones are what they were.
	p.Keep = false
	if _, err := w.Refresh(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	p.Keep = true
	if _, err := w.Refresh(t.Context(), p); !errors.Is(err, session.ErrReused) {
		t.Errorf("one that was rotated: %v", err)
	}
}
