package revocation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const iss = "https://issuer.test/realms/a"

var epoch0 = time.Unix(1_800_000_000, 0)

func rec(rev Revision, k Kind, id string) Record {
	return Record{Revision: rev, Issuer: iss, Target: Target{Kind: k, ID: id}, IssuedBefore: epoch0, ExpiresAt: epoch0.Add(time.Hour), Reason: ReasonAdmin}
}

func clientSession(rev Revision, sid, azp string) Record {
	r := rec(rev, KindClientSession, sid)
	r.Target.Client = azp
	return r
}

func dead(s *Set, t Token) bool {
	v := s.Begin()
	defer v.End()
	_, d := v.Revoked(t)
	return d
}

// The rows are those of the table of targets, and of "older".
func TestRecordKillsExactlyWhatItsTargetSays(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		records []Record
		token   Token
		want    bool
	}{
		{"jti equals", []Record{rec(1, KindToken, "j")}, Token{ID: "j"}, true},
		{"jti differs", []Record{rec(1, KindToken, "j")}, Token{ID: "k"}, false},
		{"jti as uuid", []Record{rec(1, KindToken, "0e37df36-f698-11e6-8dd4-cb9ced3df976")}, Token{ID: "0e37df36-f698-11e6-8dd4-cb9ced3df976"}, true},
		{"uuid in other letters is another id", []Record{rec(1, KindToken, "0e37df36-f698-11e6-8dd4-cb9ced3df976")}, Token{ID: "0E37DF36-F698-11E6-8DD4-CB9CED3DF976"}, false},
		{"sid is not jti", []Record{rec(1, KindSession, "x")}, Token{ID: "x"}, false},
		{"sid equals", []Record{rec(1, KindSession, "s")}, Token{ID: "j", Session: "s"}, true},
		{"token without sid", []Record{rec(1, KindSession, "s")}, Token{ID: "j"}, false},
		{"sid and azp equal", []Record{clientSession(1, "s", "c")}, Token{Session: "s", Client: "c"}, true},
		{"azp differs", []Record{clientSession(1, "s", "c")}, Token{Session: "s", Client: "d"}, false},
		{"sid and azp cut elsewhere", []Record{clientSession(1, "sc", "d")}, Token{Session: "s", Client: "cd"}, false},
		{"kid equals", []Record{rec(1, KindKey, "k1")}, Token{Key: "k1"}, true},
		{"another issuer's jti", []Record{rec(1, KindToken, "j")}, Token{Issuer: "https://other.test", ID: "j"}, false},

		{"sub equals, rev below", []Record{rec(7, KindSubject, "u")}, Token{Subject: "u", HasRev: true, Rev: 6}, true},
		{"sub equals, rev the same: minted after", []Record{rec(7, KindSubject, "u")}, Token{Subject: "u", HasRev: true, Rev: 7}, false},
		{"rev counts, not iat", []Record{rec(7, KindSubject, "u")}, Token{Subject: "u", HasRev: true, Rev: 8, IssuedAt: epoch0.Add(-time.Hour)}, false},
		{"no rev, iat before", []Record{rec(7, KindSubject, "u")}, Token{Subject: "u", IssuedAt: epoch0.Add(-time.Second)}, true},
		{"no rev, iat in the same second", []Record{rec(7, KindSubject, "u")}, Token{Subject: "u", IssuedAt: epoch0.Add(900 * time.Millisecond)}, true},
		{"no rev, iat in the next second", []Record{rec(7, KindSubject, "u")}, Token{Subject: "u", IssuedAt: epoch0.Add(time.Second)}, false},
		{"no rev, no iat", []Record{rec(7, KindSubject, "u")}, Token{Subject: "u"}, true},
		{"rev 0 of a token that has one", []Record{rec(1, KindSubject, "u")}, Token{Subject: "u", HasRev: true}, true},
		{"azp, older", []Record{rec(7, KindClient, "c")}, Token{Client: "c", HasRev: true, Rev: 6}, true},
		{"issuer, older", []Record{rec(7, KindIssuer, "")}, Token{HasRev: true, Rev: 6}, true},
		{"issuer, younger", []Record{rec(7, KindIssuer, "")}, Token{HasRev: true, Rev: 7}, false},

		{"two of a subject, newest first: highest revision counts", []Record{rec(9, KindSubject, "u"), rec(3, KindSubject, "u")}, Token{Subject: "u", HasRev: true, Rev: 8}, true},
		{"two of a subject: latest time counts, whatever the revision", []Record{
			{Revision: 9, Issuer: iss, Target: Target{Kind: KindSubject, ID: "u"}, IssuedBefore: epoch0.Add(-time.Hour)},
			{Revision: 3, Issuer: iss, Target: Target{Kind: KindSubject, ID: "u"}, IssuedBefore: epoch0},
		}, Token{Subject: "u", IssuedAt: epoch0}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.token.Issuer == "" {
				tt.token.Issuer = iss
			}
			for _, way := range []string{"applied", "applied one by one", "applied twice", "replaced"} {
				s := NewSet()
				switch way {
				case "applied":
					s.Apply(tt.records, 9)
				case "applied one by one":
					for _, r := range tt.records {
						s.Apply([]Record{r}, r.Revision)
					}
				case "applied twice":
					s.Apply(tt.records, 9)
					s.Apply(tt.records, 9)
				case "replaced":
					s.Replace(tt.records, 9)
				}
				if got := dead(s, tt.token); got != tt.want {
					t.Errorf("%s: dead = %t, want %t", way, got, tt.want)
				}
				if way == "applied twice" && s.Len() > len(tt.records) {
					t.Errorf("%d records in force, %d were applied", s.Len(), len(tt.records))
				}
			}
		})
	}
}

func TestRecordComesBackWithWhatOperatorsAreShown(t *testing.T) {
	t.Parallel()
	s := NewSet()
	s.Apply([]Record{clientSession(5, "s", "c")}, 5)
	v := s.Begin()
	defer v.End()
	got, _ := v.Revoked(Token{Issuer: iss, Session: "s", Client: "c"})
	if got.Revision != 5 || got.Issuer != iss || got.Target != (Target{KindClientSession, "s", "c"}) || got.Reason != ReasonAdmin || !got.ExpiresAt.Equal(epoch0.Add(time.Hour)) {
		t.Errorf("got %+v", got)
	}
}

// twin is the Set as one would write it without any thought of speed.
type twin map[Record]struct{}

func (w twin) dead(t Token) bool {
	for r := range w {
		if r.Issuer != t.Issuer {
			continue
		}
		id, client, ok := t.claim(r.Target.Kind)
		if !ok || id != r.Target.ID || client != r.Target.Client {
			continue
		}
		older := t.Rev < r.Revision
		if !t.HasRev {
			older = t.IssuedAt.Unix() <= r.IssuedBefore.Unix()
		}
		if older || !r.Target.Kind.older() {
			return true
		}
	}
	return false
}

func (w twin) expire(now time.Time) {
	for r := range w {
		if r.ExpiresAt.Before(now) {
			delete(w, r)
		}
	}
}

func TestSetAgreesWithPlainTwin(t *testing.T) {
	t.Parallel()
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 1))
		id := func() string { return fmt.Sprint("id", r.IntN(400)) }
		issuer := func() string { return fmt.Sprint("https://issuer.test/", r.IntN(3)) }
		s, w, rev := NewSet(), twin{}, Revision(0)
		now := epoch0
		for range 150 {
			var batch []Record
			for range r.IntN(1 << r.IntN(9)) {
				rev++
				x := Record{
					Revision: rev, Issuer: issuer(), Target: Target{Kind: Kind(1 + r.IntN(7)), ID: id()},
					IssuedBefore: now.Add(time.Duration(r.IntN(100)-50) * time.Second), ExpiresAt: now.Add(time.Duration(10+r.IntN(300)) * time.Second),
				}
				switch x.Target.Kind {
				case KindIssuer:
					if r.IntN(50) > 0 {
						continue
					}
					x.Target.ID = ""
				case KindClientSession:
					x.Target.Client = id()
				}
				batch = append(batch, x)
				w[x] = struct{}{}
			}
			r.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			s.Apply(batch, rev)
			now = now.Add(time.Duration(r.IntN(10)) * time.Second)
			s.Expire(now)
			w.expire(now)
			for range 20 {
				tok := Token{
					Issuer: issuer(), ID: id(), Session: id(), Subject: id(), Client: id(), Key: id(),
					HasRev: r.IntN(2) == 0, Rev: Revision(r.Uint64N(uint64(rev) + 1)), IssuedAt: now.Add(time.Duration(r.IntN(100)-80) * time.Second),
				}
				got, want := dead(s, tok), w.dead(tok)
				// An expired record may stay until its memory is freed; it matches
				// no token that is alive. It must never be the other way round.
				if want && !got {
					t.Fatalf("seed %d: dead token lives: %+v", seed, tok)
				}
				if got && !want && !recentlyExpired(s, tok, now) {
					t.Fatalf("seed %d: refused and no record matches: %+v", seed, tok)
				}
			}
		}
	}
}

func recentlyExpired(s *Set, tok Token, now time.Time) bool {
	v := s.Begin()
	defer v.End()
	r, _ := v.Revoked(tok)
	return r.Target.Kind.older() || r.ExpiresAt.Before(now) // the newest of several may have outlived an older
}

func TestExpireFreesAndNeverStepsBack(t *testing.T) {
	t.Parallel()
	s := NewSet()
	var all []Record
	for i := range 10_000 {
		r := rec(Revision(i+1), KindSession, fmt.Sprint("s", i))
		r.ExpiresAt = epoch0.Add(time.Duration(i) * time.Second)
		all = append(all, r)
	}
	s.Apply(all, 10_000)
	s.Expire(epoch0.Add(6_000 * time.Second))
	if n := s.Len(); n < 4_000 || n > 4_010 {
		t.Errorf("%d records left, want about 4,000", n)
	}
	for i := 6_000; i < 10_000; i++ {
		if !dead(s, Token{Issuer: iss, Session: fmt.Sprint("s", i)}) {
			t.Fatalf("record %d dropped before its time", i)
		}
	}
	s.Expire(epoch0)
	if s.high != epoch0.Add(6_000*time.Second) {
		t.Errorf("clock stepped back to %s", s.high)
	}
	s.Expire(epoch0.Add(time.Hour * 24))
	if s.Len() != 0 || len(s.state.Load().names.by) != 0 {
		t.Errorf("%d records of %d issuers left", s.Len(), len(s.state.Load().names.by))
	}
}

func TestHeadMovesForwardOnlyWithinAnEpoch(t *testing.T) {
	t.Parallel()
	s := NewSet()
	s.Apply(nil, 7)
	s.Apply(nil, 5)
	if s.Revision() != 7 {
		t.Errorf("revision = %d, want 7", s.Revision())
	}
	g := s.Generation()
	s.Replace(nil, 3) // a new epoch
	if s.Revision() != 3 || s.Generation() == g {
		t.Errorf("revision = %d, generation %d → %d", s.Revision(), g, s.Generation())
	}
}

func TestSnapshotIsInForceOnlyWhenWhole(t *testing.T) {
	t.Parallel()
	s := NewSet()
	s.Apply([]Record{rec(1, KindSession, "old")}, 1)
	l := s.Load()
	l.Add([]Record{rec(2, KindSession, "new")})
	if !dead(s, Token{Issuer: iss, Session: "old"}) || dead(s, Token{Issuer: iss, Session: "new"}) {
		t.Error("half a snapshot is in force")
	}
	l.Commit(2)
	if dead(s, Token{Issuer: iss, Session: "old"}) || !dead(s, Token{Issuer: iss, Session: "new"}) {
		t.Error("the snapshot is not in force")
	}
}

func TestNewEpochKeepsTheDeadOfTheOld(t *testing.T) {
	t.Parallel()
	s := NewSet()
	other := rec(4, KindSession, "theirs")
	other.Issuer = "https://other.test"
	gone := rec(3, KindSession, "expired")
	gone.ExpiresAt = epoch0.Add(-time.Second)
	s.Apply([]Record{other, rec(5, KindSession, "mine"), gone}, 5)
	s.high = epoch0
	l := s.Load()
	l.Add([]Record{rec(1, KindSession, "new")})
	l.CommitOver(2)
	for _, tt := range []struct {
		tok  Token
		want bool
	}{
		{Token{Issuer: iss, Session: "mine"}, true},
		{Token{Issuer: iss, Session: "new"}, true},
		{Token{Issuer: iss, Session: "theirs"}, false},
		{Token{Issuer: iss, Session: "expired"}, false},
		{Token{Issuer: "https://other.test", Session: "theirs"}, true},
		{Token{Issuer: "https://other.test", Session: "mine"}, false},
	} {
		if got := dead(s, tt.tok); got != tt.want {
			t.Errorf("%s %s: dead = %t, want %t", tt.tok.Issuer, tt.tok.Session, got, tt.want)
		}
	}
	if s.Revision() != 2 {
		t.Errorf("revision = %d", s.Revision())
	}
}

func TestSettleWaitsForDecisionsThatBeganBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewSet()
		first := s.Begin()
		s.Apply([]Record{rec(1, KindSession, "s")}, 1)
		var mu sync.Mutex
		settled := false
		go func() {
			if err := s.Settle(t.Context()); err != nil {
				t.Error(err)
			}
			mu.Lock()
			settled = true
			mu.Unlock()
		}()
		time.Sleep(time.Second)
		for range 100 { // those that begin later do not hold it up
			v := s.Begin()
			if v.Revision() != 1 {
				t.Error("a new decision on an old state")
			}
			defer v.End()
		}
		time.Sleep(time.Second)
		mu.Lock()
		early := settled
		mu.Unlock()
		if early {
			t.Error("settled while a decision on the old state runs")
		}
		if _, d := first.Revoked(Token{Issuer: iss, Session: "s"}); d {
			t.Error("a decision saw the state change")
		}
		first.End()
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if !settled {
			t.Error("not settled when the decision had ended")
		}
	})
}

func TestSettleGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewSet()
		v := s.Begin()
		defer v.End()
		for range 2 { // and a second is not kept out by the first
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := s.Settle(ctx); err != context.DeadlineExceeded {
				t.Errorf("Settle = %v", err)
			}
			cancel()
		}
	})
}

// After Apply and Settle no decision that ends later may have missed the record.
func TestNoDecisionOutlivesSettle(t *testing.T) {
	t.Parallel()
	s := NewSet()
	var mu sync.Mutex
	applied := Revision(0) // settled
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v := s.Begin()
				runtime.Gosched()
				mu.Lock()
				floor := applied
				mu.Unlock()
				if v.Revision() < floor {
					t.Errorf("decision at %d still runs, %d was settled", v.Revision(), floor)
				}
				v.End()
			}
		})
	}
	for i := Revision(1); i <= 500; i++ {
		s.Apply([]Record{rec(i, KindSession, fmt.Sprint(i))}, i)
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		applied = i
		mu.Unlock()
	}
	close(stop)
	wg.Wait()
}

func FuzzKeysOfDifferentIDsDiffer(f *testing.F) {
	f.Add("0e37df36-f698-11e6-8dd4-cb9ced3df976", "0E37DF36-F698-11E6-8DD4-CB9CED3DF976", "c", "c")
	f.Add("a", "ab", "bc", "c")
	f.Fuzz(func(t *testing.T, id1, id2, c1, c2 string) {
		if id1 != id2 && keyOf(KindToken, id1, "") == keyOf(KindToken, id2, "") {
			t.Errorf("%q and %q have one key", id1, id2)
		}
		if (id1 != id2 || c1 != c2) && keyOf(KindClientSession, id1, c1) == keyOf(KindClientSession, id2, c2) {
			t.Errorf("%q/%q and %q/%q have one key", id1, c1, id2, c2)
		}
	})
}

// TestASnapshotInPiecesIsWhole: more than the Loader makes room for at once,
// in pieces that do not divide it.
func TestASnapshotInPiecesIsWhole(t *testing.T) {
	t.Parallel()
	const pieces, each = 60, 999
	if pieces*each < 2*pileSize {
		t.Fatalf("%d records fit into %d entries", pieces*each, pileSize)
	}
	s := NewSet()
	l := s.Load()
	for p := range pieces {
		var piece []Record
		for i := range each {
			piece = append(piece, rec(Revision(p*each+i+1), KindToken, uuid(p*each+i)))
		}
		l.Add(piece)
	}
	l.Commit(pieces * each)
	if s.Len() != pieces*each {
		t.Fatalf("%d records, want %d", s.Len(), pieces*each)
	}
	v := s.Begin()
	defer v.End()
	for i := range pieces * each {
		if _, dead := v.Revoked(Token{Issuer: iss, ID: uuid(i)}); !dead {
			t.Fatalf("record %d of the snapshot is lost", i)
		}
	}
}
