package verify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

const (
	home     = "https://id.example/realms/demo"
	audience = "orders-api"
)

// start is when every test begins.
var start = time.Unix(1_800_000_000, 0)

// world is an issuer and a clock, in memory. It is the http.RoundTripper that
// serves the issuer's documents.
type world struct {
	mu      sync.Mutex
	now     time.Time
	keys    []jose.Signer
	down    bool
	fetches int
}

func newWorld(t testing.TB, kids ...string) *world {
	t.Helper()
	w := &world{now: start}
	for _, kid := range kids {
		w.add(t, kid)
	}
	return w
}

// add publishes one more ES256 key.
func (w *world) add(t testing.TB, kid string) jose.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := jose.Signer{ID: kid, Algorithm: jose.ES256, Key: key}
	w.set(func() { w.keys = append(w.keys, s) })
	return s
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// pass lets time pass.
func (w *world) pass(d time.Duration) { w.set(func() { w.now = w.now.Add(d) }) }

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fetches++
	if w.down {
		return nil, errors.New("connection refused")
	}
	var keys []jose.PublicKey
	for _, s := range w.keys {
		keys = append(keys, jose.PublicKey{ID: s.ID, Algorithm: s.Algorithm, Key: s.Key.Public()})
	}
	set, err := jose.NewKeySet(keys...)
	if err != nil {
		return nil, err
	}
	var document any = set
	if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
		document = map[string]string{"issuer": home, "jwks_uri": home + "/certs"}
	}
	body, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: r,
		Body: io.NopCloser(strings.NewReader(string(body))),
	}, nil
}

// verifier trusts the world's issuer; change may be nil.
func (w *world) verifier(t testing.TB, change func(*Config)) *Verifier {
	t.Helper()
	c := Config{
		Issuers: []Issuer{{Issuer: home, Audience: []string{audience}}},
		HTTP:    &http.Client{Transport: w},
		Now:     w.clock,
	}
	if change != nil {
		change(&c)
	}
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// with are the claims of a good token, changed; nil removes a claim.
func with(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": home, "aud": audience, "sub": "alice", "azp": "shop", "client_id": "shop",
		"jti": "onrtac:1", "sid": "s-1", "typ": "Bearer", "scope": "orders:read orders:write",
		"iat": start.Unix(), "exp": start.Add(5 * time.Minute).Unix(), "rev": 7,
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// token signs the claims of a good token, changed.
func (w *world) token(t testing.TB, changes map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(with(changes))
	if err != nil {
		t.Fatal(err)
	}
	return w.sign(t, "at+jwt", string(payload))
}

// sign signs a payload with the world's first key.
func (w *world) sign(t testing.TB, typ, payload string) string {
	t.Helper()
	compact, err := w.keys[0].Sign(typ, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func TestAGoodTokenIsReadWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1", "k2")
	v := w.verifier(t, nil)
	got, err := v.Verify(t.Context(), w.token(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	r := got.Revocation
	if r.Issuer != home || r.ID != "onrtac:1" || r.Session != "s-1" || r.Subject != "alice" || r.Client != "shop" ||
		r.Key != "k1" || r.Rev != 7 || !r.HasRev || !r.IssuedAt.Equal(start) {
		t.Errorf("what a revocation is matched against: got %+v", r)
	}
	if !got.Expires.Equal(start.Add(5*time.Minute)) || !got.NotBefore.IsZero() {
		t.Errorf("got expiry %v, not before %v", got.Expires, got.NotBefore)
	}
	if s := strings.Join(got.Scopes, " "); s != "orders:read orders:write" {
		t.Errorf("got scopes %q", s)
	}
	want := `{"claims": {"aud": "orders-api", "azp": "shop", "client_id": "shop", "exp": 1800000300, "iat": 1800000000, ` +
		`"iss": "https://id.example/realms/demo", "jti": "onrtac:1", "rev": 7, "scope": "orders:read orders:write", ` +
		`"sid": "s-1", "sub": "alice", "typ": "Bearer"}, "client": "shop", "issuer": "https://id.example/realms/demo", ` +
		`"scopes": {"orders:read", "orders:write"}, "session": "s-1", "subject": "alice"}`
	if s := got.Document().String(); s != want {
		t.Errorf("input.token:\ngot  %s\nwant %s", s, want)
	}
}
