package clientauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

var (
	start     = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	testRealm = realm.Realm{ID: "r", Name: "demo", Issuer: "https://id.example/realms/demo"}

	errReplayed = errors.New("seen before")
	errBroken   = errors.New("store is away")
)

const tokenEndpoint = "https://id.example/realms/demo/protocol/openid-connect/token"

// world is an Authenticator over clients and replay memory in maps.
type world struct {
	*Authenticator
	key     jose.Signer
	clients map[string]client.Client
	broken  error

	mu   sync.Mutex
	seen map[string]time.Time
}

func (w *world) ByClientID(_ context.Context, _ realm.Realm, id string) (client.Client, error) {
	if w.broken != nil {
		return client.Client{}, w.broken
	}
	c, ok := w.clients[id]
	if !ok {
		return c, fmt.Errorf("finding client: %w", client.ErrNotFound)
	}
	return c, nil
}

func (w *world) Once(_ context.Context, _ realm.Realm, kind, value string, expires time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	if _, ok := w.seen[kind+value]; ok {
		return fmt.Errorf("once: %w", errReplayed)
	}
	w.seen[kind+value] = expires
	return nil
}

func newSigner(t testing.TB, kid string) jose.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.Signer{ID: kid, Algorithm: jose.ES256, Key: key}
}

func publicSet(t testing.TB, s jose.Signer) []byte {
	t.Helper()
	set, err := jose.NewKeySet(jose.PublicKey{ID: s.ID, Key: s.Key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{key: newSigner(t, "k1"), seen: map[string]time.Time{}}
	confidential := client.Client{ClientID: "app", Enabled: true, SecretHash: client.HashSecret("s3cret")}
	with := func(id string, change func(*client.Client)) client.Client {
		c := confidential
		c.ClientID = id
		change(&c)
		return c
	}
	w.clients = map[string]client.Client{
		"app":       confidential,
		"odd:id %+": with("odd:id %+", func(c *client.Client) { c.SecretHash = client.HashSecret("a b:c%&+ü") }),
		"pub":       with("pub", func(c *client.Client) { c.PublicClient, c.SecretHash = true, "" }),
		"off":       with("off", func(c *client.Client) { c.Enabled = false }),
		"basic":     with("basic", func(c *client.Client) { c.Attributes = map[string]string{allowedMethod: MethodBasic} }),
		"post":      with("post", func(c *client.Client) { c.Attributes = map[string]string{allowedMethod: MethodPost} }),
		"none":      with("none", func(c *client.Client) { c.SecretHash = "" }),
		"jwt": with("jwt", func(c *client.Client) {
			c.SecretHash, c.ClientAuthenticatorType, c.JWKS = "", client.AuthJWT, publicSet(t, w.key)
		}),
		"nokeys": with("nokeys", func(c *client.Client) { c.ClientAuthenticatorType = client.AuthJWT }),
	}
	var err error
	w.Authenticator, err = New(Config{Clients: w, Replay: w, Replayed: errReplayed, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

func (w *world) authenticate(t testing.TB, form oauth.Form, authorization ...string) (Result, error) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	for _, v := range authorization {
		req.Header.Add("Authorization", v)
	}
	return w.Authenticate(t.Context(), testRealm, req, form)
}

// outcome is the method of a Result, or the error as a caller sees it.
func outcome(t testing.TB, r Result, err error) string {
	t.Helper()
	if err == nil {
		return r.Method + " " + r.Client.ClientID
	}
	rec := httptest.NewRecorder()
	oauth.WriteError(rec, err)
	var body map[string]string
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s: %s", rec.Code, body["error"], body["error_description"])
}

const (
	unknown = "401 invalid_client: Invalid client or Invalid client credentials"
	wrong   = "401 unauthorized_client: Invalid client or Invalid client credentials"
	twice   = "400 invalid_request: more than one client authentication method"
	failed  = "400 invalid_client: Client authentication with signed JWT failed: "
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := func(id string) oauth.Form { return oauth.Form{"client_id": id} }
	post := func(id, secret string) oauth.Form { return oauth.Form{"client_id": id, "client_secret": secret} }
	tests := []struct {
		name          string
		form          oauth.Form
		authorization string
		want          string
	}{
		{"basic", nil, basic("app", "s3cret"), "client_secret_basic app"},
		{"basic, scheme in lower case (RFC 9110 §11.1)", nil, "b" + basic("app", "s3cret")[1:], "client_secret_basic app"},
		{"basic, form-encoded (RFC 6749 §2.3.1)", nil, basic("odd:id %+", "a b:c%&+ü"), "client_secret_basic odd:id %+"},
		{"basic, the same client_id too", id("app"), basic("app", "s3cret"), "client_secret_basic app"},
		{"basic, another client_id", id("pub"), basic("app", "s3cret"), unknown},
		{"basic, wrong secret", nil, basic("app", "bad"), wrong},
		{"basic, empty secret", nil, basic("app", ""), wrong},
		{"basic, unknown client", nil, basic("nope", "s3cret"), unknown},
		{"basic, no colon", nil, "Basic " + base64.StdEncoding.EncodeToString([]byte("app")), unknown},
		{"basic, not base64", nil, "Basic app:s3cret", unknown},
		{"basic, empty", nil, "Basic", unknown},
		{"basic, no id", nil, basic("", "s3cret"), unknown},
		{"basic, not UTF-8", nil, "Basic " + base64.StdEncoding.EncodeToString([]byte("app:%ff")), unknown},
		{"post", post("app", "s3cret"), "", "client_secret_post app"},
		{"post, wrong secret", post("app", "bad"), "", wrong},
		{"post, no secret", id("app"), "", wrong},
		{"post, no id", oauth.Form{"client_secret": "s3cret"}, "", unknown},
		{"post, unknown client", post("nope", "s3cret"), "", unknown},
		{"post, endless secret", post("app", strings.Repeat("x", maxCredential+1)), "", unknown},
		{"disabled", post("off", "s3cret"), "", unknown},
		{"client without a secret", post("none", ""), "", wrong},
		{"client without a secret, some secret", post("none", "x"), "", wrong},
		{"nothing at all", nil, "", unknown},
		{"another scheme is not for clients", post("app", "s3cret"), "Bearer abc", "client_secret_post app"},
		{"public", id("pub"), "", "none pub"},
		{"public, by basic without a secret", nil, basic("pub", ""), "none pub"},
		{"both (RFC 6749 §2.3)", post("app", "s3cret"), basic("app", "s3cret"), twice},
		{"secret and assertion", oauth.Form{"client_id": "app", "client_secret": "s3cret", "client_assertion_type": oauth.AssertionJWT}, "", twice},
		{"held to basic", nil, basic("basic", "s3cret"), "client_secret_basic basic"},
		{"held to basic, sends post", post("basic", "s3cret"), "", "401 unauthorized_client: Invalid method used to get client secret. Client requires method 'client_secret_basic' to obtain client secret from the request"},
		{"held to basic, sends nothing", id("basic"), "", wrong},
		{"held to post, sends basic", nil, basic("post", "s3cret"), "401 unauthorized_client: Invalid method used to get client secret. Client requires method 'client_secret_post' to obtain client secret from the request"},
		{"private_key_jwt client with a secret", post("jwt", "x"), "", "400 invalid_client: Parameter client_assertion_type is missing"},
		{"assertion of another type", oauth.Form{"client_assertion_type": "bogus", "client_assertion": "x"}, "", unknown},
		{"assertion without a type", oauth.Form{"client_assertion": "x"}, "", unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var headers []string
			if tt.authorization != "" {
				headers = []string{tt.authorization}
			}
			r, err := w.authenticate(t, tt.form, headers...)
			if got := outcome(t, r, err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	r, err := w.authenticate(t, nil, basic("app", "s3cret"), basic("app", "s3cret"))
	if got, want := outcome(t, r, err), "400 invalid_request: more than one Authorization header"; got != want {
		t.Errorf("two headers: %s", got)
	}
}

func TestAnOldSecretWorksUntilItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		until time.Duration
		want  string
	}{{time.Second, "client_secret_post app"}, {-time.Second, wrong}} {
		c := w.clients["app"]
		c.OldSecretHash, c.OldSecretUntil = client.HashSecret("old"), start.Add(tt.until)
		w.clients["app"] = c
		r, err := w.authenticate(t, oauth.Form{"client_id": "app", "client_secret": "old"})
		if got := outcome(t, r, err); got != tt.want {
			t.Errorf("end %v from now: %s, want %s", tt.until, got, tt.want)
		}
	}
}

func TestAFailureOfTheStoreIsNotTheClientsFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	form := oauth.Form{"client_id": "app", "client_secret": "s3cret"}
	w.broken = errBroken
	r, err := w.authenticate(t, form)
	if got := outcome(t, r, err); got != "500 server_error: internal error" || !errors.Is(err, errBroken) {
		t.Errorf("got %s (%v)", got, err)
	}
}

// assertion signs claims that are right but for change.
func (w *world) assertion(t testing.TB, s jose.Signer, typ string, change map[string]any) oauth.Form {
	t.Helper()
	claims := map[string]any{"iss": "jwt", "sub": "jwt", "aud": testRealm.Issuer, "jti": rand.Text(), "exp": start.Unix() + 60, "iat": start.Unix()}
	for k, v := range change {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	data, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Sign(typ, data)
	if err != nil {
		t.Fatal(err)
	}
	return oauth.Form{"client_assertion_type": oauth.AssertionJWT, "client_assertion": token}
}

func TestAssertions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const ok = "private_key_jwt jwt"
	const inactive = "400 invalid_client: Token is not active"
	const audience = "400 invalid_client: Invalid token audience"
	at := func(d time.Duration) int64 { return start.Add(d).Unix() }
	type change = map[string]any
	tests := []struct {
		name   string
		change change
		want   string
	}{
		{"for the issuer", nil, ok},
		{"for the token endpoint", change{"aud": tokenEndpoint}, ok},
		{"audience in an array", change{"aud": []string{tokenEndpoint}}, ok},
		{"two audiences", change{"aud": []string{tokenEndpoint, "https://other.example"}}, audience},
		{"another audience", change{"aud": "https://other.example"}, audience},
		{"issuer with a slash", change{"aud": testRealm.Issuer + "/"}, audience},
		{"no audience", change{"aud": nil}, audience},
		{"audience a number", change{"aud": 7}, failed + "the assertion is malformed"},
		{"expired", change{"exp": at(-time.Minute)}, inactive},
		{"expired within the skew", change{"exp": at(-10 * time.Second)}, ok},
		{"a fraction of a second", change{"exp": float64(at(time.Minute)) + 0.5}, ok},
		{"no exp", change{"exp": nil}, failed + "exp is missing"},
		{"exp a string", change{"exp": "soon"}, failed + "the assertion is malformed"},
		{"exp beyond reason", change{"exp": 1e300}, failed + "the assertion is malformed"},
		{"exp far, fresh iat (Keycloak 26: 200)", change{"exp": at(24 * time.Hour)}, ok},
		{"exp far, old iat", change{"exp": at(24 * time.Hour), "iat": at(-time.Hour)}, inactive},
		{"exp far, no iat", change{"exp": at(24 * time.Hour), "iat": nil}, failed + "exp is too far in the future and there is no iat"},
		{"no iat", change{"iat": nil}, ok},
		{"issued in the future", change{"iat": at(time.Minute)}, inactive},
		{"not yet", change{"nbf": at(time.Minute)}, inactive},
		{"nbf within the skew", change{"nbf": at(10 * time.Second)}, ok},
		{"no jti", change{"jti": nil}, failed + "jti is missing or too long"},
		{"endless jti", change{"jti": strings.Repeat("x", maxJTI+1)}, failed + "jti is missing or too long"},
		{"no iss", change{"iss": nil}, failed + "iss and sub must both be the client_id"},
		{"no sub", change{"sub": nil}, failed + "iss and sub must both be the client_id"},
		{"iss of another", change{"iss": "app"}, failed + "iss and sub must both be the client_id"},
		{"unknown client", change{"iss": "nope", "sub": "nope"}, unknown},
		{"client with a secret", change{"iss": "app", "sub": "app"}, unknown},
		{"public client", change{"iss": "pub", "sub": "pub"}, unknown},
		{"client without keys", change{"iss": "nokeys", "sub": "nokeys"}, failed + "Unable to load public key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := w.authenticate(t, w.assertion(t, w.key, "JWT", tt.change))
			if got := outcome(t, r, err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	const badSignature = failed + "Signature on JWT token failed validation"
	forms := map[string]struct {
		form oauth.Form
		want string
	}{
		"another key":         {w.assertion(t, newSigner(t, "k1"), "JWT", nil), badSignature},
		"another kid":         {w.assertion(t, newSigner(t, "k2"), "JWT", nil), badSignature},
		"no typ":              {w.assertion(t, w.key, "", nil), ok},
		"explicit typ":        {w.assertion(t, w.key, "client-authentication+jwt", nil), ok},
		"another typ":         {w.assertion(t, w.key, "at+jwt", nil), badSignature},
		"not a token":         {oauth.Form{"client_assertion_type": oauth.AssertionJWT, "client_assertion": "x"}, failed + "the assertion is malformed"},
		"no assertion":        {oauth.Form{"client_assertion_type": oauth.AssertionJWT}, "400 invalid_client: client_assertion parameter missing"},
		"none":                {oauth.Form{"client_assertion_type": oauth.AssertionJWT, "client_assertion": "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqd3QiLCJzdWIiOiJqd3QifQ.AA"}, badSignature},
		"client_id disagrees": {func() oauth.Form { f := w.assertion(t, w.key, "JWT", nil); f["client_id"] = "app"; return f }(), "400 invalid_client: client_id parameter does not match sub claim"},
		"client_id agrees":    {func() oauth.Form { f := w.assertion(t, w.key, "JWT", nil); f["client_id"] = "jwt"; return f }(), ok},
	}
	for name, tt := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := w.authenticate(t, tt.form)
			if got := outcome(t, r, err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAnAssertionWorksOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	form := w.assertion(t, w.key, "JWT", map[string]any{"exp": start.Add(24 * time.Hour).Unix()})
	for i, want := range []string{"private_key_jwt jwt", "400 invalid_client: Token reuse detected"} {
		r, err := w.authenticate(t, form)
		if got := outcome(t, r, err); got != want {
			t.Errorf("use %d: %s, want %s", i+1, got, want)
		}
	}
	for _, until := range w.seen { // remembered for as long as it could be used, and no longer
		if want := start.Add(maxAssertionAge + clockSkew); !until.Equal(want) {
			t.Errorf("remembered until %v, want %v", until, want)
		}
	}
	// A forged assertion must not use up the jti of a real one.
	form = w.assertion(t, w.key, "JWT", map[string]any{"jti": "mine"})
	if _, err := w.authenticate(t, w.assertion(t, newSigner(t, "k1"), "JWT", map[string]any{"jti": "mine"})); err == nil {
		t.Error("forged assertion accepted")
	}
	if r, err := w.authenticate(t, form); err != nil {
		t.Errorf("after a forged one: %s", outcome(t, r, err))
	}
}

func TestKeysByReference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	keys, fetches := publicSet(t, w.key), 0
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fetches++
		rw.Write(keys) //nolint:errcheck // a test server
	}))
	t.Cleanup(server.Close)
	c := w.clients["jwt"]
	c.JWKS, c.JWKSURI = nil, server.URL
	w.clients["jwt"] = c
	for range 3 {
		if r, err := w.authenticate(t, w.assertion(t, w.key, "JWT", nil)); err != nil {
			t.Errorf("keys at jwks_uri: %s", outcome(t, r, err))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if fetches != 1 {
		t.Errorf("%d fetches for three assertions, want 1", fetches)
	}
	c.JWKSURI = "http://keys.example/jwks"
	w.clients["jwt"] = c
	r, err := w.authenticate(t, w.assertion(t, w.key, "JWT", nil))
	if got := outcome(t, r, err); got != failed+"Unable to load public key" {
		t.Errorf("keys over an open wire: %s", got)
	}
}

func TestRemoteKeySetsAreBounded(t *testing.T) {
	t.Parallel()
	now := start
	s := newRemotes(Config{Now: func() time.Time { return now }})
	first, err := s.get("https://0.example/jwks")
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxRemotes + 10 {
		now = now.Add(time.Second)
		if _, err := s.get(fmt.Sprintf("https://%d.example/jwks", i+1)); err != nil {
			t.Fatal(err)
		}
		if again, err := s.get("https://0.example/jwks"); err != nil || again != first {
			t.Fatal("the one in use was evicted")
		}
	}
	if n := len(s.byURL); n != maxRemotes {
		t.Errorf("%d remembered, want %d", n, maxRemotes)
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	form := w.assertion(t, newSigner(t, "k1"), "JWT", nil)
	for _, f := range []oauth.Form{form, {"client_id": "app", "client_secret": "hunter2"}, {"client_assertion_type": oauth.AssertionJWT, "client_assertion": "hunter2.hunter2.hunter2"}} {
		_, err := w.authenticate(t, f)
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), form["client_assertion"]) {
			t.Errorf("error = %v", err)
		}
	}
}

// FuzzBasic: whatever is read, written as RFC 6749 §2.3.1 says, reads the same.
func FuzzBasic(f *testing.F) {
	for _, s := range []string{"app:s3cret", "app", ":", "a%3Ab:c", "a+b:%", "a:b:c", "\xff:x", "a:%00"} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(s)))
	}
	f.Add("!")
	f.Fuzz(func(t *testing.T, credentials string) {
		id, secret, ok := parseBasic(credentials)
		if !ok {
			return
		}
		if id == "" {
			t.Fatal("empty client_id")
		}
		_, written, _ := strings.Cut(basic(id, secret), " ")
		if len(written) > 4*maxCredential {
			return
		}
		if id2, secret2, ok := parseBasic(written); !ok || id2 != id || secret2 != secret {
			t.Fatalf("%q:%q reads back %q:%q, %t", id, secret, id2, secret2, ok)
		}
	})
}

// FuzzAssertion: no claims that the client's key has not signed for us, for
// now and for once, authenticate; every error is an *oauth.Error.
func FuzzAssertion(f *testing.F) {
	w := newWorld(f)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"iss":"jwt","sub":"jwt","aud":["https://id.example/realms/demo"],"jti":"1","exp":1795420860.5,"iat":1795420800,"nbf":0}`))
	f.Add([]byte(`{"iss":"jwt","sub":"jwt","aud":"https://id.example/realms/demo","jti":"2","exp":1e40}`))
	f.Add([]byte(`{"iss":"jwt","sub":"jwt","aud":[],"jti":"","exp":-1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		token, err := w.key.Sign("JWT", payload)
		if err != nil {
			return
		}
		form := oauth.Form{"client_assertion_type": oauth.AssertionJWT, "client_assertion": token}
		_, err = w.authenticate(t, form)
		var e *oauth.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("error %v is not an *oauth.Error", err)
		}
		if err != nil {
			return
		}
		claims, err := jose.ReadObject(payload)
		if err != nil || claims["iss"] != "jwt" || claims["sub"] != "jwt" || claims["jti"] == "" || claims["exp"] == nil {
			t.Fatalf("accepted %s", payload)
		}
		if _, err = w.authenticate(t, form); err == nil {
			t.Fatal("accepted twice")
		}
	})
}
