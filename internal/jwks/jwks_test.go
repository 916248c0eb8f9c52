package jwks

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

const issuer = "https://id.example/realms/demo"

// world is an issuer in memory: an http.RoundTripper without a network, so
// that it lives inside a synctest bubble.
type world struct {
	mu      sync.Mutex
	keys    map[string]jose.PublicKey
	header  http.Header
	status  int
	body    string // instead of the keys
	issuer  string
	jwksURI string
	fetches int
	hold    chan struct{} // if not nil, answers wait for it
}

func newWorld() *world {
	return &world{keys: map[string]jose.PublicKey{}, header: http.Header{}, status: 200, issuer: issuer, jwksURI: issuer + "/certs"}
}

func (w *world) add(t testing.TB, kid string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[kid] = jose.PublicKey{ID: kid, Key: key.Public()}
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fetches
}

func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.hold != nil {
		select {
		case <-w.hold:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: w.header.Clone(), Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	}
	if strings.HasSuffix(req.URL.Path, "/.well-known/openid-configuration") {
		return answer(200, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, w.issuer, w.jwksURI))
	}
	w.fetches++
	if w.body != "" || w.status != 200 {
		return answer(w.status, w.body)
	}
	var keys []jose.PublicKey
	for _, k := range w.keys {
		keys = append(keys, k)
	}
	set, err := jose.NewKeySet(keys...)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	return answer(200, string(body))
}

func (w *world) remote(t testing.TB) *Remote {
	t.Helper()
	r, err := New(Config{Issuer: issuer, HTTP: &http.Client{Transport: w}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// forKey asserts what ForKey says of kid.
func forKey(t *testing.T, r *Remote, kid string, generation uint64, want error) {
	t.Helper()
	set, g, err := r.ForKey(t.Context(), kid)
	if !errors.Is(err, want) || g != generation || (set != nil) != (want == nil) {
		t.Errorf("ForKey(%q) = %v, %d, %v; want generation %d, %v", kid, set, g, err, generation, want)
	}
}

func TestAnUnknownKeyIsFetchedOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.add(t, "k1")
		w.hold = make(chan struct{})
		r := w.remote(t)
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() { forKey(t, r, "k1", 1, nil) })
		}
		synctest.Wait()
		close(w.hold)
		callers.Wait()
		if n := w.count(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
		forKey(t, r, "", 1, nil)
		if n := w.count(); n != 1 {
			t.Errorf("a known key was fetched again")
		}
	})
}

func TestUnknownKeysProvokeFetchesAtALimitedRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.add(t, "k1")
		r := w.remote(t)
		forKey(t, r, "k1", 1, nil)
		for i := range 100 {
			forKey(t, r, fmt.Sprint("x", i), 0, jose.ErrUnknownKey)
		}
		if n := w.count(); n != burst {
			t.Errorf("%d fetches at once, want %d", n, burst)
		}
		time.Sleep(defaultMinRefetch)
		forKey(t, r, "x98", 0, jose.ErrUnknownKey)
		forKey(t, r, "x99", 0, jose.ErrUnknownKey)
		if n := w.count(); n != burst+1 {
			t.Errorf("%d fetches after the limit, want %d", n, burst+1)
		}
		// x98 was not there: it is not looked for again for a while, x99 is.
		time.Sleep(defaultMinRefetch)
		forKey(t, r, "x98", 0, jose.ErrUnknownKey)
		if n := w.count(); n != burst+1 {
			t.Errorf("a key known to be missing was fetched")
		}
		w.add(t, "x99")
		forKey(t, r, "x99", 2, nil)
		// The set has changed: what was missing may be there now.
		w.add(t, "x98")
		time.Sleep(defaultMinRefetch)
		forKey(t, r, "x98", 3, nil)
		forKey(t, r, strings.Repeat("k", maxKeyID+1), 0, jose.ErrUnknownKey)
		time.Sleep(time.Hour)
		before := w.count()
		forKey(t, r, strings.Repeat("k", maxKeyID+1), 0, jose.ErrUnknownKey)
		if w.count() != before {
			t.Error("an endless kid was fetched")
		}
	})
}

// TestANewKeyIsFoundAtOnce: a rotation right after a fetch, or after a stray
// kid, refuses nobody.
func TestANewKeyIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(t, "k1")
	r := w.remote(t)
	forKey(t, r, "k1", 1, nil)
	forKey(t, r, "stray", 0, jose.ErrUnknownKey)
	w.add(t, "k2")
	forKey(t, r, "k2", 2, nil)
}

func TestMissingKeysAreForgottenWithinBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.add(t, "k1")
		r := w.remote(t)
		forKey(t, r, "k1", 1, nil)
		for i := range 2 * maxMissing {
			r.remember(fmt.Sprint("x", i))
		}
		if n := len(r.missing); n != maxMissing {
			t.Errorf("%d missing keys remembered, want %d", n, maxMissing)
		}
		time.Sleep(missingFor * defaultMinRefetch)
		r.remember("y")
		if n := len(r.missing); n != 1 {
			t.Errorf("%d missing keys remembered after their time, want 1", n)
		}
	})
}

func TestTheLastGoodSetSurvivesABrokenIssuer(t *testing.T) {
	t.Parallel()
	breaks := map[string]func(*world){
		"down":             func(w *world) { w.status = 503; w.body = "away" },
		"an error page":    func(w *world) { w.body = "<html>" },
		"half a document":  func(w *world) { w.body = `{"keys":[` },
		"too large":        func(w *world) { w.body = `{"keys":[]}` + strings.Repeat(" ", maxBody) },
		"a private key":    func(w *world) { w.body = `{"keys":[{"kty":"oct","k":"AA"}]}` },
		"another issuer":   func(w *world) { w.issuer = issuer + "2" },
		"keys in the open": func(w *world) { w.jwksURI = "http://id.example/certs" },
	}
	for name, breakIt := range breaks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.add(t, "k1")
				r := w.remote(t)
				forKey(t, r, "k1", 1, nil)
				w.set(func() { breakIt(w) })
				time.Sleep(time.Hour)
				forKey(t, r, "k1", 1, nil)
				forKey(t, r, "k2", 0, ErrUnavailable)
				if set, g := r.Current(); set == nil || g != 1 {
					t.Error("the set is gone")
				}
			})
		})
	}
}

func TestBeforeTheFirstSetNothingIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.status, w.body = 500, "x"
		r := w.remote(t)
		forKey(t, r, "k1", 0, ErrUnavailable)
		forKey(t, r, "", 0, ErrUnavailable)
		if set, g := r.Current(); set != nil || g != 0 {
			t.Errorf("Current = %v, %d", set, g)
		}
		if n := w.count(); n != 1 {
			t.Errorf("%d fetches, want 1: a broken issuer is not hammered", n)
		}
	})
}

func TestRunFollowsTheIssuer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.add(t, "k1")
		w.status, w.body = 503, "away"
		r := w.remote(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()

		time.Sleep(time.Minute) // tries at 0, 1, 3, 7, 15, 31, 51 s
		if n := w.count(); n != 7 {
			t.Errorf("%d tries in the first minute, want 7", n)
		}
		w.set(func() { w.status, w.body = 200, "" })
		time.Sleep(time.Minute)
		if _, g := r.Current(); g != 1 {
			t.Fatalf("generation = %d after recovery, want 1", g)
		}
		time.Sleep(2 * defaultMaxAge)
		if _, g := r.Current(); g != 1 {
			t.Errorf("generation = %d though nothing changed", g)
		}
		w.add(t, "k2")
		time.Sleep(defaultMaxAge + time.Second)
		if set, g := r.Current(); g != 2 || !set.Has("k2") {
			t.Errorf("generation = %d, want 2 with k2", g)
		}
		w.set(func() { w.header.Set("Cache-Control", "public, max-age=30") })
		time.Sleep(defaultMaxAge + time.Second)
		before := w.count()
		time.Sleep(5 * time.Minute)
		if n := w.count() - before; n != 10 {
			t.Errorf("%d fetches in five minutes with max-age=30, want 10", n)
		}
		w.set(func() { w.status, w.body = 503, "away" })
		before = w.count()
		time.Sleep(38 * time.Second) // once when max-age ends, then 1 and 3 and 7 s later
		if n := w.count() - before; n < 3 {
			t.Errorf("%d tries after a new failure, want 3 or more: back-off starts anew", n)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestWaitingEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.add(t, "k1")
		w.hold = make(chan struct{})
		r := w.remote(t)
		go forKey(t, r, "k1", 1, nil)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := r.ForKey(ctx, "k1"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("ForKey = %v", err)
		}
		close(w.hold)
		synctest.Wait()
	})
}

func TestAHangingIssuerIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.hold = make(chan struct{})
		r := w.remote(t)
		before := time.Now()
		forKey(t, r, "k1", 0, ErrUnavailable)
		if took := time.Since(before); took != fetchTimeout {
			t.Errorf("given up after %v, want %v", took, fetchTimeout)
		}
	})
}

func TestRedirectsStayAtTheirOrigin(t *testing.T) {
	t.Parallel()
	var elsewhere, home *httptest.Server
	elsewhere = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) }))
	t.Cleanup(elsewhere.Close)
	home = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/away":
			http.Redirect(w, req, elsewhere.URL, http.StatusFound)
		case "/here":
			http.Redirect(w, req, "/keys", http.StatusFound)
		case "/round":
			http.Redirect(w, req, "/round", http.StatusFound)
		default:
			fmt.Fprint(w, `{"keys":[]}`)
		}
	}))
	t.Cleanup(home.Close)
	for path, ok := range map[string]bool{"/keys": true, "/here": true, "/away": false, "/round": false} {
		r, err := New(Config{URL: home.URL + path, HTTP: home.Client()})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.ForKey(t.Context(), ""); (err == nil) != ok {
			t.Errorf("%s: %v, want ok %t", path, err, ok)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url, issuer string
		ok          bool
	}{
		{"https://a.example/certs", "", true},
		{"", "https://a.example", true},
		{"http://127.0.0.1:8080/certs", "", true},
		{"http://[::1]:8080/certs", "", true},
		{"http://localhost/certs", "", true},
		{"", "", false},
		{"https://a.example/certs", "https://a.example", false},
		{"http://a.example/certs", "", false},
		{"http://localhost.example/certs", "", false},
		{"file:///etc/keys", "", false},
		{"https://user:pw@a.example/certs", "", false},
		{"https:///certs", "", false},
		{"certs", "", false},
	}
	for _, tt := range tests {
		if _, err := New(Config{URL: tt.url, Issuer: tt.issuer}); (err == nil) != tt.ok {
			t.Errorf("New(%q, %q) = %v, want ok %t", tt.url, tt.issuer, err, tt.ok)
		}
	}
}

func TestMaxAge(t *testing.T) {
	t.Parallel()
	const none = time.Duration(math.MaxInt64)
	tests := []struct {
		header []string
		want   time.Duration
	}{
		{nil, none},
		{[]string{"no-cache"}, none},
		{[]string{"max-age=60"}, time.Minute},
		{[]string{"public, Max-Age=60, must-revalidate"}, time.Minute},
		{[]string{"no-transform", `max-age="60"`}, time.Minute},
		{[]string{"max-age=-1"}, none},
		{[]string{"max-age=soon"}, none},
		{[]string{"max-age=99999999999999999999"}, none},
		{[]string{"s-maxage=5"}, none},
	}
	for _, tt := range tests {
		if got := maxAge(http.Header{"Cache-Control": tt.header}); got != tt.want {
			t.Errorf("maxAge(%q) = %v, want %v", tt.header, got, tt.want)
		}
	}
}
