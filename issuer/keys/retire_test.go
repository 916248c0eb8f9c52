package keys_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/revocation"
)

// maintain maintains and compares what was done.
func (w *world) maintain(keep time.Duration, want keys.Maintained) {
	w.t.Helper()
	got, err := w.Maintain(w.t.Context(), demo, keep)
	w.must(err)
	if got != want {
		w.t.Errorf("Maintain = %+v, want %+v: %s", got, want, w.statuses(demo))
	}
}

// TestOldKeysRetire: a key goes when it has not signed for long enough, never
// the active one, never the one that the issuer keeps for itself.
func TestOldKeysRetire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	for range 2 {
		w.pass(10 * time.Minute)
		_, err := w.RotateNow(t.Context(), demo, "")
		w.must(err)
	}
	w.maintain(time.Hour, keys.Maintained{})
	w.pass(51 * time.Minute) // the first ended 61 minutes ago, the second 51
	w.maintain(time.Hour, keys.Maintained{Retired: 1})
	if set, err := w.Public(t.Context(), demo); err != nil || len(set.Keys()) != 2 {
		t.Errorf("published %v, %v, want 2 keys", set, err)
	}
	w.pass(100 * time.Hour)
	w.maintain(time.Hour, keys.Maintained{Retired: 1})
	w.maintain(time.Hour, keys.Maintained{})
	if got, want := w.statuses(demo), "ES256 active, ES256 retired, ES256 retired, HS512 active"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheNextKeyIsPublishedBeforeItSigns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	first, _ := w.sign(w.Keys, demo)
	kid, from, err := w.Rotate(t.Context(), demo, "")
	w.must(err)
	if want := noon.Add(keys.PublishAhead); !from.Equal(want) {
		t.Errorf("signs from %v, want %v", from, want)
	}
	again, _, err := w.Rotate(t.Context(), demo, "")
	w.must(err)
	if again != kid {
		t.Error("a second rotation made another key beside the one that waits")
	}
	for _, step := range []struct {
		pass time.Duration
		want string
	}{{0, first.ID}, {keys.PublishAhead - time.Second, first.ID}, {time.Second, kid}, {time.Hour, kid}} {
		w.pass(step.pass)
		set, err := w.Public(t.Context(), demo)
		w.must(err)
		if !set.Has(kid) || !set.Has(first.ID) {
			t.Errorf("at %v not both are published", w.clock())
		}
		if s, _ := w.sign(w.Keys, demo); s.ID != step.want {
			t.Errorf("at %v signs with %s, want %s", w.clock(), s.ID, step.want)
		}
	}
	w.maintain(2*time.Hour, keys.Maintained{Passive: 1})
	w.pass(59 * time.Minute) // it ended when the next began to sign, an hour before
	w.maintain(2*time.Hour, keys.Maintained{})
	w.pass(2 * time.Minute)
	w.maintain(2*time.Hour, keys.Maintained{Retired: 1})
}

// TestRotationNeverFailsAVerification: through hours of scheduled rotation, every
// token verifies, all its life, with a key set that is as old as its cache
// headers allow, fetched from a process that is behind by as much as it may be.
func TestRotationNeverFailsAVerification(t *testing.T) {
	t.Parallel()
	const life, keep, step = 5 * time.Minute, time.Hour, 30 * time.Second
	w, r := newWorld(t), demo
	r.Settings.KeyRotation = 2 * time.Hour
	w.must(w.Ensure(t.Context(), r, jose.EdDSA))
	other := w.process(seal) // reads at most every second
	type token struct {
		compact string
		alg     jose.Algorithm
		expires time.Time
	}
	var cached *jose.KeySet // of a verifier that keeps it for as long as it may
	var fetched time.Time
	var alive []token
	seen := map[string]bool{}
	for i := range int(7 * time.Hour / step) {
		w.pass(step)
		now := w.clock()
		if i%3 == 0 {
			_, err := w.Maintain(t.Context(), r, keep)
			w.must(err)
		}
		if cached == nil || now.Sub(fetched) >= keys.CacheFor {
			set, err := other.Public(t.Context(), r)
			w.must(err)
			cached, fetched = set, now
		}
		for _, alg := range []jose.Algorithm{"", jose.EdDSA} {
			s, err := w.Signer(t.Context(), r, alg)
			w.must(err)
			compact, err := s.Sign("JWT", []byte(`{"a":1}`))
			w.must(err)
			seen[s.ID] = true
			alive = append(alive, token{compact, s.Algorithm, now.Add(life)})
		}
		alive = slices.DeleteFunc(alive, func(tk token) bool { return !now.Before(tk.expires) })
		for _, tk := range alive {
			if _, _, err := cached.Verify(tk.compact, jose.Accept{Algorithms: []jose.Algorithm{tk.alg}, Types: []string{"JWT"}}); err != nil {
				t.Fatalf("%v after the start, with a set fetched %v ago: %v", now.Sub(noon), now.Sub(fetched), err)
			}
		}
	}
	if len(seen) != 2*4 {
		t.Errorf("%d keys have signed in 7 hours, want 8: two that change every 2 hours", len(seen))
	}
	if set, err := w.Public(t.Context(), r); err != nil || len(set.Keys()) > 6 {
		t.Errorf("%d keys are published, %v: old ones are not retired", len(set.Keys()), err)
	}
}

// TestEveryAlgorithmHasKeysOfItsOwn: what one client asks for changes nothing
// for another.
func TestEveryAlgorithmHasKeysOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo, jose.RS256))
	for _, alg := range []jose.Algorithm{"", jose.RS256, jose.EdDSA} { // the last is made when it is first asked for
		s, err := w.Signer(t.Context(), demo, alg)
		w.must(err)
		if want := max(alg, jose.ES256); s.Algorithm != want {
			t.Errorf("asked for %q, signs with %s", alg, s.Algorithm)
		}
	}
	before, _ := w.sign(w.Keys, demo)
	_, err := w.RotateNow(t.Context(), demo, jose.RS256)
	w.must(err)
	if after, _ := w.sign(w.Keys, demo); after.ID != before.ID {
		t.Error("rotating RS256 changed the realm's key")
	}
	if _, err := w.Signer(t.Context(), demo, "Ed448"); err == nil || !bytes.Contains([]byte(err.Error()), []byte("Ed448 is not supported")) {
		t.Errorf("Ed448: %v", err)
	}
	if _, err := w.Signer(t.Context(), demo, jose.HS512); err == nil {
		t.Error("a key that nobody else has signs for others")
	}
	if got, want := w.statuses(demo), "ES256 active, EdDSA active, HS512 active, RS256 active, RS256 passive"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.must(w.Ensure(t.Context(), demo, jose.EdDSA))
	if got, want := w.statuses(demo), "ES256 active, EdDSA active, HS512 active, RS256 passive, RS256 passive"; got != want {
		t.Errorf("nobody asks for RS256 any more: got %s, want %s", got, want)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"active", "passive", "waiting", "own"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(w.Ensure(t.Context(), demo))
			w.store.mark = noon.Add(time.Hour)
			s, compact := w.sign(w.Keys, demo)
			kid, signer := s.ID, ""
			switch status {
			case "passive":
				next, err := w.RotateNow(t.Context(), demo, "")
				w.must(err)
				signer = next
			case "waiting":
				next, _, err := w.Rotate(t.Context(), demo, "")
				w.must(err)
				kid, signer = next, s.ID
			case "own":
				own, _, err := w.Own(t.Context(), demo)
				w.must(err)
				kid, signer = own, s.ID
			}
			rev, err := w.Withdraw(t.Context(), demo, kid)
			w.must(err)
			now, _ := w.sign(w.Keys, demo)
			if now.ID == kid || signer != "" && now.ID != signer {
				t.Errorf("signs with %s, want another than %s (%s)", now.ID, kid, signer)
			}
			if status == "own" {
				if again, _, err := w.Own(t.Context(), demo); err != nil || again == kid || len(w.store.records) != 0 {
					t.Errorf("own key %s, %v, records %v", again, err, w.store.records)
				}
				return
			}
			if want := (revocation.Target{Kind: revocation.KindKey, ID: kid}); rev != 1 || len(w.store.records) != 1 ||
				w.store.records[0].Target != want || !w.store.records[0].ExpiresAt.After(w.store.mark) {
				t.Errorf("revision %d, records %+v", rev, w.store.records)
			}
			if set, err := w.Public(t.Context(), demo); err != nil || set.Has(kid) {
				t.Errorf("the withdrawn key is published: %v", err)
			}
			if status != "waiting" && w.verifies(w.Keys, demo, compact, jose.ES256) {
				t.Error("what the withdrawn key signed still verifies")
			}
		})
	}
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	if _, err := w.Withdraw(t.Context(), demo, "none"); !errors.Is(err, keys.ErrUnknown) {
		t.Errorf("unknown key: %v", err)
	}
}

// TestTheSealingKeyCanBeReplaced without a moment at which a key does not open.
func TestTheSealingKeyCanBeReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := bytes.Repeat([]byte{8}, 32)
	w.must(w.Ensure(t.Context(), demo))
	_, compact := w.sign(w.Keys, demo)
	kid, own, err := w.Own(t.Context(), demo)
	w.must(err)

	both := w.process(second, seal)
	w.verifiesWith(both, compact)
	n, err := both.Reseal(t.Context(), demo)
	if err != nil || n != 2 {
		t.Errorf("resealed %d, %v, want 2", n, err)
	}
	if n, err := both.Reseal(t.Context(), demo); err != nil || n != 0 {
		t.Errorf("resealed %d again, %v", n, err)
	}
	fresh := w.process(second)
	w.verifiesWith(fresh, compact)
	if id, key, err := fresh.Own(t.Context(), demo); err != nil || id != kid || !bytes.Equal(key, own) {
		t.Errorf("own key %s, %v", id, err)
	}
	w.pass(2 * time.Second)
	if _, err := w.Signer(t.Context(), demo, ""); !errors.Is(err, keys.ErrSeal) {
		t.Errorf("the old key file alone: %v, want ErrSeal", err)
	}
	w.verifiesWith(w.process(seal, second), compact) // who has both does not care which is first
}

func (w *world) verifiesWith(k *keys.Keys, compact string) {
	w.t.Helper()
	if !w.verifies(k, demo, compact, jose.ES256) {
		w.t.Error("what was signed before does not verify")
	}
	s, again := w.sign(k, demo)
	if !w.verifies(k, demo, again, jose.ES256) {
		w.t.Errorf("what %s signs does not verify", s.ID)
	}
}

// TestTheKeySetHasATagThatChangesWithIt, and stays the same otherwise.
func TestTheKeySetHasATagThatChangesWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	get := func(k *keys.Keys) string {
		t.Helper()
		document, tag, err := k.JWKS(t.Context(), demo)
		w.must(err)
		if set, err := jose.ParseKeySet(document); err != nil || len(set.Keys()) == 0 {
			t.Errorf("document %s: %v", document, err)
		}
		return fmt.Sprint(tag)
	}
	first := get(w.Keys)
	w.pass(time.Hour)
	if again := get(w.process(seal)); again != first {
		t.Errorf("another process, another tag: %s, %s", first, again)
	}
	_, _, err := w.Rotate(t.Context(), demo, "")
	w.must(err)
	if next := get(w.Keys); next == first {
		t.Error("a new key, and the same tag")
	}
}
