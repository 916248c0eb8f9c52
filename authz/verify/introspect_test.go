package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/internal/jose"
)

// oracle is an issuer's introspection endpoint in memory: an http.RoundTripper
// that answers about the tokens it knows.
type oracle struct {
	mu     sync.Mutex
	tokens map[string]map[string]any // active answers; others are inactive
	asked  []string
	kind   string // Content-Type
	status int
	body   string        // instead of an answer
	hold   chan struct{} // answers wait for it
	fail   error
	seen   *http.Request
}

func newOracle() *oracle {
	return &oracle{tokens: map[string]map[string]any{}, kind: "application/json;charset=UTF-8", status: http.StatusOK}
}

func (o *oracle) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *oracle) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

func (o *oracle) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	o.mu.Lock()
	hold := o.hold
	token := r.PostForm.Get("token")
	o.asked, o.seen = append(o.asked, token), r
	o.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return nil, o.fail
	}
	body := o.body
	if body == "" {
		answer := map[string]any{"active": false}
		if claims, ok := o.tokens[token]; ok {
			answer = maps.Clone(claims)
			answer["active"] = true
		}
		data, err := json.Marshal(answer)
		if err != nil {
			return nil, err
		}
		body = string(data)
	}
	return &http.Response{
		StatusCode: o.status, Header: http.Header{"Content-Type": {o.kind}, "Location": {"https://evil.example/"}},
		Request: r, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// asking is the configuration of an issuer that is asked.
func asking(change func(*Issuer)) Issuer {
	i := Issuer{
		Issuer: home, Audience: []string{audience},
		Introspection: &Introspection{URL: home + "/introspect", ClientID: "gate way", ClientSecret: "s/ecret"},
	}
	if change != nil {
		change(&i)
	}
	return i
}

// verifier asks the oracle; change may be nil.
func (o *oracle) verifier(t testing.TB, now func() time.Time, change func(*Issuer)) *Verifier {
	t.Helper()
	return must(New(Config{Issuers: []Issuer{asking(change)}, HTTP: &http.Client{Transport: o}, Now: now}))(t)
}

func TestAnOpaqueTokenIsAskedAbout(t *testing.T) {
	t.Parallel()
	w, o := newWorld(t), newOracle()
	o.tokens["opaque"] = with(map[string]any{"token_type": "Bearer", "username": "alice"})
	v := o.verifier(t, w.clock, nil)
	token := verified(t, v, "opaque")
	r := token.Revocation
	if r.Issuer != home || r.ID != "onrtac:1" || r.Session != "s-1" || r.Subject != "alice" || r.Client != "shop" ||
		r.Key != "" || r.Rev != 7 || !r.HasRev || !r.IssuedAt.Equal(start) {
		t.Errorf("what a revocation is matched against: got %+v", r)
	}
	if !slices.Equal(token.Scopes, []string{"orders:read", "orders:write"}) || !token.Expires.Equal(start.Add(5*time.Minute)) {
		t.Errorf("got scopes %q, expiry %v", token.Scopes, token.Expires)
	}
	if got := token.Document().String(); !strings.Contains(got, `"username": "alice"`) || !strings.Contains(got, `"issuer": "`+home+`"`) {
		t.Errorf("input.token: got %s", got)
	}
	id, secret, ok := o.seen.BasicAuth()
	if !ok || id != "gate+way" || secret != "s%2Fecret" {
		t.Errorf("asked as %q with %q", id, secret)
	}
	if hint := o.seen.PostForm.Get("token_type_hint"); hint != "access_token" {
		t.Errorf("hint %q", hint)
	}
	if err := v.Ready(); err != nil {
		t.Errorf("ready without keys: got %v", err)
	}
}

func TestAnAnswerIsUsedForItsTime(t *testing.T) {
	t.Parallel()
	w, o := newWorld(t), newOracle()
	o.tokens["opaque"] = with(map[string]any{"exp": start.Add(7 * time.Second).Unix()})
	v := o.verifier(t, w.clock, func(i *Issuer) { i.Leeway = time.Second })
	first := verified(t, v, "opaque")
	w.pass(defaultAnswerTTL - 1)
	verified(t, v, "opaque")
	if o.count() != 1 {
		t.Errorf("asked %d times within the answer's time", o.count())
	}
	w.pass(1)
	if again := verified(t, v, "opaque"); again != first || o.count() != 2 {
		t.Errorf("asked %d times, another token: %t; the answer was the same", o.count(), again != first)
	}
	o.set(func() { o.tokens["opaque"]["scope"] = "less" })
	w.pass(2 * time.Second) // exp comes before the end of the answer's time
	if got := verified(t, v, "opaque"); !slices.Equal(got.Scopes, []string{"less"}) || o.count() != 3 {
		t.Errorf("asked %d times, got scopes %q", o.count(), got.Scopes)
	}
	w.pass(time.Second)
	if _, err := v.Verify(t.Context(), "opaque"); !errors.Is(err, ErrExpired) {
		t.Errorf("past exp and leeway: got %v", err)
	}
	checkWhole(t, v.cache)
}

func TestARevokedTokenIsFoundOutWhenAskedAgain(t *testing.T) {
	t.Parallel()
	w, o := newWorld(t), newOracle()
	o.tokens["opaque"] = with(nil)
	v := o.verifier(t, w.clock, nil)
	verified(t, v, "opaque")
	o.set(func() { delete(o.tokens, "opaque") })
	w.pass(defaultAnswerTTL)
	if _, err := v.Verify(t.Context(), "opaque"); !errors.Is(err, ErrInactive) {
		t.Errorf("got %v", err)
	}
}

func TestARefusalIsRememberedBriefly(t *testing.T) {
	t.Parallel()
	w, o := newWorld(t), newOracle()
	v := o.verifier(t, w.clock, nil)
	for range 10 {
		if _, err := v.Verify(t.Context(), "opaque"); !errors.Is(err, ErrInactive) {
			t.Fatalf("got %v", err)
		}
	}
	if o.count() != 1 {
		t.Errorf("asked %d times", o.count())
	}
	o.set(func() { o.tokens["opaque"] = with(nil) })
	w.pass(inactiveFor)
	verified(t, v, "opaque")
	for i := range 2 * maxInactive {
		_, _ = v.Verify(t.Context(), fmt.Sprint("x", i))
	}
	r := &v.opaque.introspector.refusals
	if n := len(r.young) + len(r.old); n != maxInactive {
		t.Errorf("%d refusals remembered, want %d", n, maxInactive)
	}
	w.pass(2 * inactiveFor)
	_, _ = v.Verify(t.Context(), "y")
	if n := len(r.young) + len(r.old); n != 1 {
		t.Errorf("%d refusals remembered after their time, want 1", n)
	}
}

// TestAnswersAreHeldToTheRules: each row is one answer about a token.
func TestAnswersAreHeldToTheRules(t *testing.T) {
	t.Parallel()
	active := func(changes map[string]any) string {
		claims := with(changes)
		claims["active"] = true
		data, _ := json.Marshal(claims)
		return string(data)
	}
	tests := []struct {
		name, body string
		want       error
	}{
		{"good", active(nil), nil},
		{"no iss", active(map[string]any{"iss": nil}), nil},
		{"no exp", active(map[string]any{"exp": nil}), nil},
		{"token_type in another case", active(map[string]any{"token_type": "bearer"}), nil},
		{"iss of another", active(map[string]any{"iss": "https://other.example"}), ErrIssuer},
		{"iss empty", active(map[string]any{"iss": ""}), ErrIssuer},
		{"iss a number", active(map[string]any{"iss": 1}), ErrClaims},
		{"aud of another API", active(map[string]any{"aud": "invoices"}), ErrAudience},
		{"no aud", active(map[string]any{"aud": nil}), ErrAudience},
		{"no sub", active(map[string]any{"sub": nil}), ErrClaims},
		{"expired", active(map[string]any{"exp": start.Add(-time.Hour).Unix()}), ErrExpired},
		{"not yet", active(map[string]any{"nbf": start.Add(time.Hour).Unix()}), ErrNotYet},
		{"exp a text", active(map[string]any{"exp": "never"}), ErrClaims},
		{"a refresh token of Keycloak", active(map[string]any{"typ": "Refresh", "token_type": "Refresh"}), ErrType},
		{"an ID token of Keycloak", active(map[string]any{"typ": "ID"}), ErrType},
		{"a refresh token by token_use", active(map[string]any{"typ": nil, "token_use": "refresh_token"}), ErrType},
		{"token_type a number", active(map[string]any{"token_type": 1}), ErrType},
		{"inactive, with claims", strings.Replace(active(nil), `"active":true`, `"active":false`, 1), ErrInactive},
		{"active a text", strings.Replace(active(nil), `"active":true`, `"active":"true"`, 1), ErrUnavailable},
		{"active one", `{"active":1}`, ErrUnavailable},
		{"no active", `{}`, ErrUnavailable},
		{"active twice", `{"active":false,` + active(nil)[1:], ErrUnavailable},
		{"no JSON", `<html>`, ErrUnavailable},
		{"an array", `[` + active(nil) + `]`, ErrUnavailable},
		{"more than one", active(nil) + active(nil), ErrUnavailable},
		{"too large", active(map[string]any{"x": strings.Repeat("x", maxAnswer)}), ErrUnavailable},
		{"too deep", active(map[string]any{"x": json.RawMessage(strings.Repeat("[", 30) + strings.Repeat("]", 30))}), ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, o := newWorld(t), newOracle()
			o.body = tt.body
			got, err := o.verifier(t, w.clock, nil).Verify(t.Context(), "opaque")
			if !errors.Is(err, tt.want) || (got == nil) != (tt.want != nil) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
			checkSilent(t, err, "opaque-")
		})
	}
}

func TestAnIssuerThatDoesNotAnswerRefusesNobody(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*oracle){
		"unreachable":          func(o *oracle) { o.fail = errors.New("connection refused") },
		"our secret is wrong":  func(o *oracle) { o.status = http.StatusUnauthorized },
		"broken":               func(o *oracle) { o.status = http.StatusInternalServerError },
		"redirects":            func(o *oracle) { o.status = http.StatusTemporaryRedirect },
		"a page":               func(o *oracle) { o.kind = "text/html" },
		"a signed answer":      func(o *oracle) { o.kind = "application/token-introspection+jwt" },
		"no content type":      func(o *oracle) { o.kind = "" },
		"JSON of another kind": func(o *oracle) { o.kind = "application/problem+json" },
	}
	for name, breakIt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, o := newWorld(t), newOracle()
			o.tokens["opaque"] = with(nil)
			breakIt(o)
			v := o.verifier(t, w.clock, nil)
			for range 2 {
				if _, err := v.Verify(t.Context(), "opaque"); !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v, want %v", err, ErrUnavailable)
				}
			}
			if o.count() != 2 {
				t.Errorf("asked %d times: what is no answer must not be remembered, nor followed", o.count())
			}
		})
	}
}

func TestManyWhoAskAreOneQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		o.tokens["opaque"] = with(map[string]any{"iat": nil, "exp": time.Now().Add(time.Hour).Unix()})
		o.hold = make(chan struct{})
		v := o.verifier(t, nil, nil)
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if n > 0 { // the first one's end is no one else's
					time.Sleep(time.Millisecond)
				} else {
					cancel()
				}
				if _, err := v.Verify(ctx, "opaque"); n > 0 && err != nil || n == 0 && !errors.Is(err, ErrUnavailable) {
					t.Errorf("caller %d: %v", n, err)
				}
			})
		}
		time.Sleep(time.Second)
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := v.Verify(impatient, "opaque"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("one who cannot wait: got %v", err)
		}
		close(o.hold)
		wg.Wait()
		if o.count() != 1 {
			t.Errorf("asked %d times", o.count())
		}
	})
}

func TestAHangingIssuerIsGivenUpAndNotFlooded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		o.hold = make(chan struct{})
		v := o.verifier(t, nil, nil)
		before := time.Now()
		var wg sync.WaitGroup
		for n := range 2 * maxQuestions {
			wg.Go(func() {
				if _, err := v.Verify(t.Context(), fmt.Sprint(n)); !errors.Is(err, ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		if n := o.count(); n != maxQuestions {
			t.Errorf("%d questions at once, want %d", n, maxQuestions)
		}
		wg.Wait()
		if took := time.Since(before); took != defaultAnswerTimeout {
			t.Errorf("given up after %v, want %v", took, defaultAnswerTimeout)
		}
		if n := len(v.opaque.introspector.flights); n != 0 {
			t.Errorf("%d questions left", n)
		}
	})
}

// TestAPanicLeavesNobodyWaiting: doors recover, so a question must end anyway.
func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	o := newOracle()
	v := o.verifier(t, newWorld(t).clock, nil)
	s, key, q := v.opaque.introspector, digest{1}, &question{done: make(chan struct{}), err: ErrUnavailable}
	s.flights[key] = q
	func() {
		defer func() { _ = recover() }()
		s.fly(key, q, func() (*entry, error) { panic("bug") })
	}()
	<-q.done
	if !errors.Is(q.err, ErrUnavailable) || len(s.flights) != 0 {
		t.Errorf("got %v, %d questions left", q.err, len(s.flights))
	}
}

// TestWhoIsAsked: each row is a token, the issuers being home (asked), other
// (by its keys) and third (both).
func TestWhoIsAsked(t *testing.T) {
	t.Parallel()
	const other, third = "https://other.example", "https://third.example"
	w, o := newWorld(t, "k1"), newOracle()
	elsewhere := newOracle()
	v := w.verifier(t, func(c *Config) {
		c.HTTP.Transport = hosts{"id.example": o, "other.example": w, "third.example": w, "ask.third.example": elsewhere}
		c.Issuers = []Issuer{
			asking(func(i *Issuer) { i.Introspection.Opaque = true }),
			{Issuer: other, Audience: []string{audience}, JWKSURL: other + "/jwks"},
			{
				Issuer: third, Audience: []string{audience}, JWKSURL: third + "/jwks",
				Introspection: &Introspection{URL: "https://ask.third.example/", ClientID: "a", ClientSecret: "b", OpaqueOnly: true},
			},
		}
	})
	good := w.token(t, map[string]any{"iss": other})
	broken := strings.Replace(good, ".", ".!", 1)
	tests := []struct {
		name, token string
		asked       bool
		want        error
	}{
		{"opaque", "2YotnFZFEjr1zCsicMWpAA", true, ErrInactive},
		{"opaque, with dots", "a.b.c", true, ErrInactive},
		{"encrypted", good + ".a.b", true, ErrInactive},
		{"a JWT of the asked issuer", w.token(t, nil), true, ErrInactive},
		{"a JWT of another", good, false, nil},
		{"a JWT of one that also has opaque tokens", w.token(t, map[string]any{"iss": third}), false, nil},
		{"a JWT of nobody", w.token(t, map[string]any{"iss": "https://evil.example"}), false, ErrIssuer},
		{"a broken JWT of another", broken, false, ErrMalformed},
		{"too long", strings.Repeat("x", jose.MaxCompact+1), false, ErrMalformed},
	}
	for _, tt := range tests {
		before := o.count()
		_, err := v.Verify(t.Context(), tt.token)
		if !errors.Is(err, tt.want) || (o.count() > before) != tt.asked {
			t.Errorf("%s: got %v, asked: %t", tt.name, err, o.count() > before)
		}
	}
	if elsewhere.count() != 0 {
		t.Error("an issuer was asked about tokens of another")
	}
}

func TestAWrongIntrospectionIsRefused(t *testing.T) {
	t.Parallel()
	second := func(change func(*Issuer)) []Issuer {
		return []Issuer{asking(nil), asking(func(i *Issuer) {
			i.Issuer = "https://other.example"
			change(i)
		})}
	}
	one := func(change func(*Introspection)) []Issuer {
		return []Issuer{asking(func(i *Issuer) { change(i.Introspection) })}
	}
	tests := []struct {
		name    string
		issuers []Issuer
		want    string // in the error; empty: none
	}{
		{"good", one(func(*Introspection) {}), ""},
		{"two, one for opaque tokens", second(func(i *Issuer) { i.Introspection.Opaque = true }), ""},
		{"two, one by its keys", second(func(i *Issuer) { i.Introspection = nil }), ""},
		{"two", second(func(*Issuer) {}), "opaque"},
		{"two, both for opaque tokens", append(second(func(i *Issuer) { i.Introspection.Opaque = true })[1:], one(func(i *Introspection) { i.Opaque = true })...), "opaque"},
		{"no URL", one(func(i *Introspection) { i.URL = "" }), "URL"},
		{"an open wire", one(func(i *Introspection) { i.URL = "http://id.example/" }), "https"},
		{"no client", one(func(i *Introspection) { i.ClientID = "" }), "client"},
		{"no secret", one(func(i *Introspection) { i.ClientSecret = "" }), "client"},
		{"ttl too long", one(func(i *Introspection) { i.TTL = time.Hour }), "ttl"},
		{"ttl negative", one(func(i *Introspection) { i.TTL = -1 }), "ttl"},
		{"timeout too long", one(func(i *Introspection) { i.Timeout = time.Hour }), "timeout"},
		{"no audience", []Issuer{asking(func(i *Issuer) { i.Audience = nil })}, "audience"},
		{"issuer no URL", []Issuer{asking(func(i *Issuer) { i.Issuer = "demo" })}, "URL"},
	}
	for _, tt := range tests {
		_, err := New(Config{Issuers: tt.issuers})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "s/ecret") {
			t.Errorf("%s: the error tells the secret", tt.name)
		}
	}
}

func TestFiguresOfIntrospection(t *testing.T) {
	t.Parallel()
	w, o := newWorld(t), newOracle()
	registry := prometheus.NewRegistry()
	o.tokens["good"], o.tokens["of another"] = with(nil), with(map[string]any{"aud": "x"})
	v := must(New(Config{
		Issuers: []Issuer{asking(nil)}, HTTP: &http.Client{Transport: o}, Now: w.clock, Metrics: registry,
	}))(t)
	for _, token := range []string{"good", "good", "of another", "bad"} {
		_, _ = v.Verify(t.Context(), token)
	}
	o.fail = errors.New("away")
	_, _ = v.Verify(t.Context(), "later")
	got := figures(t, registry)
	for name, want := range map[string]float64{
		"tegata_introspections_total " + home + " active":   2,
		"tegata_introspections_total " + home + " inactive": 1,
		"tegata_introspections_total " + home + " error":    1,
		"tegata_token_verifications_total inactive":         1,
		"tegata_token_verifications_total unavailable":      1,
		"tegata_token_cache_lookups_total hit":              1,
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
}

func TestAnAnswerInTheCacheAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	o := newOracle()
	o.tokens["opaque"] = with(nil)
	v, ctx := o.verifier(t, func() time.Time { return start }, nil), t.Context()
	verified(t, v, "opaque")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := v.Verify(ctx, "opaque"); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations", n)
	}
}

// FuzzAnswer: an answer that makes a token says that it is active, in a way
// that encoding/json reads alike, and fits the configuration.
func FuzzAnswer(f *testing.F) {
	i := &issuer{trust: must(asking(nil).withDefaults())(f)}
	for _, changes := range []map[string]any{
		{"active": true},
		{"active": false},
		{"active": "true"},
		{"active": true, "exp": nil, "iss": nil},
		{"active": true, "typ": "Refresh"},
		{"active": true, "token_type": "DPoP"},
		{"active": true, "aud": []string{audience, "x"}},
	} {
		f.Add(must(json.Marshal(with(changes)))(f))
	}
	f.Add([]byte(`{"active":true,"active":false}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		token, _, err := i.readAnswer(body)
		if err != nil {
			return
		}
		plain := decode(t, body)
		iss, named := plain["iss"]
		if plain["active"] != true || named && iss != home || token.Revocation.Issuer != home ||
			token.Revocation.Subject == "" || token.Revocation.Subject != plain["sub"] {
			t.Errorf("accepted %v", plain)
		}
		if aud, ok := plain["aud"].([]any); plain["aud"] != audience && (!ok || !slices.Contains(aud, any(audience))) {
			t.Errorf("accepted audience %v", plain["aud"])
		}
	})
}
