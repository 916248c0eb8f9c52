package keys_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

var (
	noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	seal = bytes.Repeat([]byte{7}, 32)
	demo = realm.Realm{ID: "r-1", Name: "demo", Enabled: true}
)

// memory is a store in memory, one transaction at a time.
type memory struct {
	mu    sync.Mutex
	all   []keys.Sealed // newest last
	reads int
	err   error // of every transaction

	records []revocation.Record
	mark    time.Time // when the last access token expires

	// If not nil, each read tells that it has begun, and waits for release.
	began, release chan struct{}
}

func (m *memory) Read(_ context.Context, f func(keys.View) error) error {
	if m.began != nil {
		m.began <- struct{}{}
		<-m.release
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	return errors.Join(m.err, f(memoryTx{m}))
}

func (m *memory) Write(_ context.Context, f func(keys.Tx) error) (revocation.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, records := slices.Clone(m.all), slices.Clone(m.records)
	_ = f(memoryTx{m}) // the closure may run twice
	m.all, m.records = slices.Clone(before), slices.Clone(records)
	err := errors.Join(m.err, f(memoryTx{m}))
	if err != nil {
		m.all, m.records = before, records
	}
	return revocation.Revision(len(m.records)), err
}

type memoryTx struct{ m *memory }

func (t memoryTx) Keys(realmID string) (found []keys.Sealed, err error) {
	for _, k := range slices.Backward(t.m.all) {
		if k.RealmID == realmID {
			found = append(found, k)
		}
	}
	return found, nil
}

func (t memoryTx) PutKey(k keys.Sealed) error {
	i := slices.IndexFunc(t.m.all, func(have keys.Sealed) bool { return have.ID == k.ID })
	switch {
	case i < 0:
		t.m.all = append(t.m.all, k)
	case t.m.all[i].RealmID != k.RealmID:
		return errors.New("another realm's key")
	default:
		t.m.all[i].Status, t.m.all[i].Ended = k.Status, k.Ended
	}
	return nil
}

func (t memoryTx) ResealKey(k keys.Sealed) error {
	i := slices.IndexFunc(t.m.all, func(have keys.Sealed) bool { return have.ID == k.ID && have.RealmID == k.RealmID })
	if i < 0 {
		return errors.New("no such key")
	}
	t.m.all[i].Private = k.Private
	return nil
}

func (t memoryTx) MaxAccessExp(string) (time.Time, error) { return t.m.mark, nil }

func (t memoryTx) Revoke(_ string, r revocation.Record) error {
	t.m.records = append(t.m.records, r)
	return nil
}

// world is the service on a store in memory, with a clock that stands still.
type world struct {
	*keys.Keys
	t     *testing.T
	store *memory
	mu    sync.Mutex
	now   time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: &memory{}, now: noon}
	w.Keys = w.process(seal)
	return w
}

// process is the service in another process, on the same store.
func (w *world) process(seal []byte, others ...[]byte) *keys.Keys {
	w.t.Helper()
	k, err := keys.New(keys.Config{Store: w.store, Seal: seal, OtherSeals: others, Now: w.clock, Rand: rand.Reader})
	w.must(err)
	return k
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

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// statuses is what the store holds of a realm, newest first.
func (w *world) statuses(r realm.Realm) string {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	all, _ := memoryTx{w.store}.Keys(r.ID)
	var names []string
	for _, k := range all {
		names = append(names, string(k.Algorithm)+" "+string(k.Status))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// sign signs with the active key.
func (w *world) sign(k *keys.Keys, r realm.Realm) (jose.Signer, string) {
	w.t.Helper()
	s, err := k.Signer(w.t.Context(), r, "")
	w.must(err)
	compact, err := s.Sign("JWT", []byte(`{"a":1}`))
	w.must(err)
	return s, compact
}

// verifies reports whether the published keys verify a token.
func (w *world) verifies(k *keys.Keys, r realm.Realm, compact string, alg jose.Algorithm) bool {
	w.t.Helper()
	set, err := k.Public(w.t.Context(), r)
	w.must(err)
	_, _, err = set.Verify(compact, jose.Accept{Algorithms: []jose.Algorithm{alg}, Types: []string{"JWT"}})
	if err != nil && !errors.Is(err, jose.ErrUnknownKey) {
		w.t.Fatal(err)
	}
	return err == nil
}

func TestNewRefusesWhatItCannotRunWith(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*keys.Config){
		"no store":        func(c *keys.Config) { c.Store = nil },
		"no clock":        func(c *keys.Config) { c.Now = nil },
		"no randomness":   func(c *keys.Config) { c.Rand = nil },
		"no sealing key":  func(c *keys.Config) { c.Seal = nil },
		"a key too short": func(c *keys.Config) { c.Seal = seal[:16] }, // which AES would take
		"a key too long":  func(c *keys.Config) { c.Seal = append(bytes.Clone(seal), 1) },
	} {
		c := keys.Config{Store: &memory{}, Seal: seal, Now: time.Now, Rand: rand.Reader}
		change(&c)
		if _, err := keys.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEnsureMakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, alg := range []jose.Algorithm{"", jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.PS256} {
		t.Run("of "+string(alg), func(t *testing.T) {
			t.Parallel()
			w, r := newWorld(t), demo
			r.Settings.SigningAlgorithm = alg
			w.must(w.Ensure(t.Context(), r))
			if alg == "" {
				alg = jose.ES256
			}
			s, compact := w.sign(w.Keys, r)
			if s.Algorithm != alg || !w.verifies(w.Keys, r, compact, alg) {
				t.Errorf("signs with %s, want %s", s.Algorithm, alg)
			}
			set, err := w.Public(t.Context(), r)
			w.must(err)
			if published := set.Keys(); len(published) != 1 || published[0].ID != s.ID || published[0].Algorithm != alg {
				t.Errorf("published %+v, want the signing key alone", published)
			}
			kid, own, err := w.Own(t.Context(), r)
			w.must(err)
			if len(own) != 64 || kid == s.ID || kid == "" || set.Has(kid) {
				t.Errorf("own key %q of %d bytes, published: %v", kid, len(own), set.Has(kid))
			}
			before := w.statuses(r)
			w.must(w.Ensure(t.Context(), r))
			if got, want := w.statuses(r), "HS512 active"; before != got || !strings.Contains(got, want) {
				t.Errorf("ensured twice: %s, then %s", before, got)
			}
		})
	}
}

func TestEnsureFollowsTheRealmsAlgorithm(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), demo
	w.must(w.Ensure(t.Context(), r))
	_, compact := w.sign(w.Keys, r)
	kid, _, err := w.Own(t.Context(), r)
	w.must(err)
	r.Settings.SigningAlgorithm = jose.EdDSA
	w.must(w.Ensure(t.Context(), r))
	if got, want := w.statuses(r), "ES256 passive, EdDSA active, HS512 active"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s, _ := w.sign(w.Keys, r); s.Algorithm != jose.EdDSA {
		t.Errorf("signs with %s, want the realm's new algorithm at once", s.Algorithm)
	}
	if !w.verifies(w.Keys, r, compact, jose.ES256) {
		t.Error("what the old key signed does not verify any more")
	}
	if again, _, err := w.Own(t.Context(), r); again != kid || err != nil {
		t.Errorf("the own key is another: %v", err)
	}
}

func TestRotateAndRetire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	first, old := w.sign(w.Keys, demo)
	ownID, own, err := w.Own(t.Context(), demo)
	w.must(err)

	w.pass(-time.Hour) // what is active is said by its status, not by its age
	kid, err := w.RotateNow(t.Context(), demo, "")
	w.must(err)
	second, fresh := w.sign(w.Keys, demo) // at once, though the clock stands still
	if second.ID != kid || second.ID == first.ID || second.Algorithm != jose.ES256 {
		t.Errorf("signs with %s (%s), want %s", second.ID, second.Algorithm, kid)
	}
	if !w.verifies(w.Keys, demo, old, jose.ES256) || !w.verifies(w.Keys, demo, fresh, jose.ES256) {
		t.Error("after a rotation the old key and the new must verify")
	}
	if againID, again, err := w.Own(t.Context(), demo); againID != ownID || !bytes.Equal(again, own) || err != nil {
		t.Errorf("rotation changed the own key, and every refresh token with it: %v", err)
	}

	w.must(w.Retire(t.Context(), demo, first.ID))
	if w.verifies(w.Keys, demo, old, jose.ES256) || !w.verifies(w.Keys, demo, fresh, jose.ES256) {
		t.Error("after its end the old key alone must not verify")
	}
	w.must(w.Retire(t.Context(), demo, first.ID)) // nothing changes
	if got, want := w.statuses(demo), "ES256 active, ES256 retired, HS512 active"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	_, err = w.RotateNow(t.Context(), demo, jose.EdDSA)
	w.must(err)
	if s, _ := w.sign(w.Keys, demo); s.ID != second.ID {
		t.Errorf("signs with %s, want what it did before: EdDSA is for who asks for it", s.Algorithm)
	}
	if got, want := w.statuses(demo), "ES256 active, ES256 retired, EdDSA active, HS512 active"; got != want {
		t.Errorf("got %s, want %s: a retired key never comes back", got, want)
	}
}

// TestAKeySetStaysReadable: verifiers bound the key sets that they read, so a
// realm cannot be rotated beyond that.
func TestAKeySetStaysReadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	first, _ := w.sign(w.Keys, demo)
	for range 64 - 2 { // one of ES256 and one of HS512 are there
		_, err := w.RotateNow(t.Context(), demo, "")
		w.must(err)
	}
	signs, token := w.sign(w.Keys, demo)
	if _, err := w.RotateNow(t.Context(), demo, ""); !errors.Is(err, keys.ErrTooMany) {
		t.Errorf("RotateNow = %v, want ErrTooMany", err)
	}
	if _, _, err := w.Rotate(t.Context(), demo, ""); !errors.Is(err, keys.ErrTooMany) {
		t.Errorf("Rotate = %v, want ErrTooMany", err)
	}
	if now, _ := w.sign(w.Keys, demo); now.ID != signs.ID || !w.verifies(w.Keys, demo, token, jose.ES256) {
		t.Error("a rotation that is refused changed something")
	}
	w.must(w.Retire(t.Context(), demo, first.ID))
	if _, err := w.RotateNow(t.Context(), demo, ""); err != nil {
		t.Errorf("after a key was retired: %v", err)
	}
}

func TestRotateTakesTheRealmsAlgorithm(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), demo
	r.Settings.SigningAlgorithm = jose.EdDSA
	w.must(w.Ensure(t.Context(), r))
	_, err := w.RotateNow(t.Context(), r, "")
	w.must(err)
	if got, want := w.statuses(r), "EdDSA active, EdDSA passive, HS512 active"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestEnsureMakesTheOwnKeyAlone, if that alone is missing.
func TestEnsureMakesTheOwnKeyAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	before, _ := w.sign(w.Keys, demo)
	w.store.all = slices.DeleteFunc(w.store.all, func(k keys.Sealed) bool { return k.Algorithm == jose.HS512 })
	w.pass(time.Second)
	if _, err := w.Signer(t.Context(), demo, ""); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("without an own key: %v, want ErrNoKey", err)
	}
	w.must(w.Ensure(t.Context(), demo))
	if after, _ := w.sign(w.Keys, demo); after.ID != before.ID {
		t.Error("the signing key was replaced")
	}
	if got, want := w.statuses(demo), "ES256 active, HS512 active"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTheSlowerOfTwoAddsNothing: both have read an empty store.
func TestTheSlowerOfTwoAddsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.began, w.store.release = make(chan struct{}, 10), make(chan struct{})
	done := make(chan error)
	for _, k := range []*keys.Keys{w.Keys, w.process(seal)} {
		go func() { done <- k.Ensure(t.Context(), demo) }()
	}
	<-w.store.began
	<-w.store.began
	close(w.store.release)
	w.must(errors.Join(<-done, <-done))
	if got, want := w.statuses(demo), "ES256 active, HS512 active"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestAKeyOutOfUseNeedNotOpen: a lost one that is still published stops every
// change, a retired one does not.
func TestAKeyOutOfUseNeedNotOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	old, _ := w.sign(w.Keys, demo)
	_, err := w.RotateNow(t.Context(), demo, "")
	w.must(err)
	flip(&w.store.all[0], 20)
	if _, err := w.RotateNow(t.Context(), demo, ""); !errors.Is(err, keys.ErrSeal) {
		t.Errorf("with a passive key that does not open: %v, want ErrSeal", err)
	}
	w.must(w.Retire(t.Context(), demo, old.ID))
	if _, err := w.RotateNow(t.Context(), demo, ""); err != nil {
		t.Errorf("with a retired key that does not open: %v", err)
	}
}

func TestWhatCannotBeRotatedOrRetired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := realm.Realm{ID: "r-2", Name: "two"}
	w.must(w.Ensure(t.Context(), demo))
	w.must(w.Ensure(t.Context(), other))
	active, _ := w.sign(w.Keys, demo)
	own, _, err := w.Own(t.Context(), demo)
	w.must(err)
	passive, _ := w.sign(w.Keys, other)
	_, err = w.RotateNow(t.Context(), other, "")
	w.must(err)
	before := w.statuses(demo) + w.statuses(other)
	for name, call := range map[string]func() error{
		"to a symmetric algorithm": func() error { _, err := w.RotateNow(t.Context(), demo, jose.HS512); return err },
		"to none":                  func() error { _, err := w.RotateNow(t.Context(), demo, "none"); return err },
		"the active key":           func() error { return w.Retire(t.Context(), demo, active.ID) },
		"the own key":              func() error { return w.Retire(t.Context(), demo, own) },
		"an unknown key":           func() error { return w.Retire(t.Context(), demo, "none") },
		"another realm's key":      func() error { return w.Retire(t.Context(), demo, passive.ID) },
	} {
		if err := call(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if after := w.statuses(demo) + w.statuses(other); after != before {
		t.Errorf("keys are %s, were %s", after, before)
	}
}

func TestRealmsShareNoKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := realm.Realm{ID: "r-2", Name: "two"}
	w.must(w.Ensure(t.Context(), demo))
	for name, call := range map[string]func() error{
		"Signer": func() error { _, err := w.Signer(t.Context(), other, ""); return err },
		"Own":    func() error { _, _, err := w.Own(t.Context(), other); return err },
		"Public": func() error { _, err := w.Public(t.Context(), other); return err },
	} {
		if err := call(); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("%s of a realm without keys: %v, want ErrNoKey", name, err)
		}
	}
	w.must(w.Ensure(t.Context(), other))
	_, compact := w.sign(w.Keys, demo)
	if w.verifies(w.Keys, other, compact, jose.ES256) {
		t.Error("a realm verifies what another signed")
	}
	_, a, err1 := w.Own(t.Context(), demo)
	_, b, err2 := w.Own(t.Context(), other)
	if bytes.Equal(a, b) || errors.Join(err1, err2) != nil {
		t.Errorf("two realms have one own key: %v, %v", err1, err2)
	}
}

// TestAnotherKeyFile opens nothing, and adds nothing: a store of keys under
// two key files could be opened by neither.
func TestAnotherKeyFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	before := w.statuses(demo)
	wrong := w.process(bytes.Repeat([]byte{8}, 32))
	changed := demo
	changed.Settings.SigningAlgorithm = jose.EdDSA // so that there is something to make
	for name, call := range map[string]func() error{
		"Signer":              func() error { _, err := wrong.Signer(t.Context(), demo, ""); return err },
		"Own":                 func() error { _, _, err := wrong.Own(t.Context(), demo); return err },
		"Public":              func() error { _, err := wrong.Public(t.Context(), demo); return err },
		"Ensure":              func() error { return wrong.Ensure(t.Context(), demo) },
		"Ensure, a new key":   func() error { return wrong.Ensure(t.Context(), changed) },
		"Rotate":              func() error { _, err := wrong.RotateNow(t.Context(), demo, ""); return err },
		"Rotate, another alg": func() error { _, err := wrong.RotateNow(t.Context(), demo, jose.EdDSA); return err },
	} {
		if err := call(); !errors.Is(err, keys.ErrSeal) {
			t.Errorf("%s: %v, want ErrSeal", name, err)
		}
	}
	if after := w.statuses(demo); after != before {
		t.Errorf("keys are %s, were %s", after, before)
	}
}

// TestARowThatWasMovedDoesNotOpen: whoever can write the store cannot give a
// realm another's key, nor bring a key back under another name.
func TestARowThatWasMovedDoesNotOpen(t *testing.T) {
	t.Parallel()
	other := realm.Realm{ID: "r-2", Name: "two"}
	for name, change := range map[string]func(all []keys.Sealed){
		"another realm's bytes": func(all []keys.Sealed) { all[0].Private = all[2].Private },
		"another realm's row":   func(all []keys.Sealed) { all[0].RealmID, all[2].RealmID = all[2].RealmID, all[0].RealmID },
		"another kid":           func(all []keys.Sealed) { all[0].ID = "chosen" },
		"another algorithm":     func(all []keys.Sealed) { all[0].Algorithm = jose.ES384 },
		"bytes of another sort": func(all []keys.Sealed) { all[0].Private, all[1].Private = all[1].Private, all[0].Private },
		"a bit of the nonce":    func(all []keys.Sealed) { flip(&all[0], 0) },
		"a bit of the tag":      func(all []keys.Sealed) { flip(&all[0], len(all[0].Private)-1) },
		"a bit of the own key":  func(all []keys.Sealed) { flip(&all[1], 20) },
		"cut short":             func(all []keys.Sealed) { all[0].Private = all[0].Private[:11] },
		"empty":                 func(all []keys.Sealed) { all[1].Private = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(w.Ensure(t.Context(), demo))
			w.must(w.Ensure(t.Context(), other))
			change(w.store.all)
			if _, err := w.process(seal).Signer(t.Context(), demo, ""); !errors.Is(err, keys.ErrSeal) {
				t.Errorf("got %v, want ErrSeal", err)
			}
		})
	}
}

// flip flips a bit of the sealed bytes, which other copies keep.
func flip(k *keys.Sealed, i int) {
	k.Private = bytes.Clone(k.Private)
	k.Private[i] ^= 1
}

func TestTheStoreSeesNoKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	_, own, err := w.Own(t.Context(), demo)
	w.must(err)
	s, _ := w.sign(w.Keys, demo)
	private, err := s.Key.(*ecdsa.PrivateKey).Bytes()
	w.must(err)
	for _, k := range w.store.all {
		if bytes.Contains(k.Private, own[:16]) || bytes.Contains(k.Private, private[:16]) {
			t.Errorf("key %s (%s) is stored in the clear", k.ID, k.Algorithm)
		}
		if k.Created != noon || k.RealmID != demo.ID {
			t.Errorf("stored %+v", k)
		}
	}
}

// TestAnotherProcessIsHeardWithinASecond, and the store is asked no more often.
func TestAnotherProcessIsHeardWithinASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	first, _ := w.sign(w.Keys, demo)
	before := w.store.reads
	kid, err := w.process(seal).RotateNow(t.Context(), demo, "")
	w.must(err)
	w.pass(time.Second - time.Nanosecond)
	for range 100 {
		if s, _ := w.sign(w.Keys, demo); s.ID != first.ID {
			t.Fatal("the store was asked within a second")
		}
	}
	if w.store.reads != before {
		t.Errorf("%d reads within a second", w.store.reads-before)
	}
	w.pass(time.Nanosecond)
	if s, _ := w.sign(w.Keys, demo); s.ID != kid {
		t.Error("a rotation is not heard of after a second")
	}
	w.must(w.process(seal).Retire(t.Context(), demo, first.ID))
	w.pass(time.Second)
	if set, err := w.Public(t.Context(), demo); err != nil || set.Has(first.ID) {
		t.Errorf("a key is published after its end, %v", err)
	}
	again, err := w.process(seal).RotateNow(t.Context(), demo, "")
	w.must(err)
	w.pass(-time.Hour)
	if s, _ := w.sign(w.Keys, demo); s.ID != again {
		t.Error("a clock that was set back hides a rotation")
	}
}

// TestAFailingStoreIsSaid: keys that are too old are not used.
func TestAFailingStoreIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	errDisk := errors.New("disk")
	w.store.err = errDisk
	if _, err := w.Signer(t.Context(), demo, ""); err != nil {
		t.Errorf("within a second: %v", err)
	}
	w.pass(time.Second)
	for name, call := range map[string]func() error{
		"Signer": func() error { _, err := w.Signer(t.Context(), demo, ""); return err },
		"Own":    func() error { _, _, err := w.Own(t.Context(), demo); return err },
		"Public": func() error { _, err := w.Public(t.Context(), demo); return err },
		"Ensure": func() error { return w.Ensure(t.Context(), demo) },
		"Rotate": func() error { _, err := w.RotateNow(t.Context(), demo, ""); return err },
		"Retire": func() error { return w.Retire(t.Context(), demo, "k") },
	} {
		err := call()
		if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "demo") {
			t.Errorf("%s: %v, want the failure and the realm", name, err)
		}
	}
	w.store.err = nil
	if _, err := w.Signer(t.Context(), demo, ""); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// TestOneReadsForAllWhoWait, and who gives up does not wait.
func TestOneReadsForAllWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.must(w.Ensure(t.Context(), demo))
		w.pass(time.Second)
		before := w.store.reads
		const waiting = 20
		w.store.began, w.store.release = make(chan struct{}, waiting), make(chan struct{})
		ids := make(chan string, waiting)
		for range waiting {
			go func() {
				s, err := w.Signer(t.Context(), demo, "")
				if err != nil {
					t.Error(err)
				}
				ids <- s.ID
			}()
		}
		canceled, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		<-w.store.began
		go func() { _, err := w.Signer(canceled, demo, ""); gaveUp <- err }()
		synctest.Wait() // one reads, all others wait for it
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
		close(w.store.release)
		want := <-ids
		for range waiting - 1 {
			if id := <-ids; id != want || id == "" {
				t.Errorf("key %q, others have %q", id, want)
			}
		}
		if n := w.store.reads - before; n != 1 {
			t.Errorf("%d reads, want one", n)
		}
	})
}

// TestWhatIsServedDoesNotChange: a key set that somebody holds is of one
// moment, whatever is rotated since.
func TestWhatIsServedDoesNotChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Ensure(t.Context(), demo))
	set, err := w.Public(t.Context(), demo)
	w.must(err)
	before, err := set.MarshalJSON()
	w.must(err)
	_, err = w.RotateNow(t.Context(), demo, "")
	w.must(err)
	after, err := set.MarshalJSON()
	w.must(err)
	if d := cmp.Diff(string(before), string(after)); d != "" {
		t.Errorf("the set changed:\n%s", d)
	}
	if bytes.Contains(before, []byte(`"d"`)) {
		t.Errorf("a private key is published: %s", before)
	}
}
