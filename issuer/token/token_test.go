package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// memoryKeys is one realm's keys, in memory.
type memoryKeys struct {
	signer jose.Signer
	own    []byte
	broken error
}

func newMemoryKeys(t testing.TB) *memoryKeys {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := &memoryKeys{signer: jose.Signer{ID: "es", Algorithm: jose.ES256, Key: key}, own: make([]byte, 64)}
	if _, err := rand.Read(k.own); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *memoryKeys) Signer(context.Context, realm.Realm, jose.Algorithm) (jose.Signer, error) {
	return k.signer, k.broken
}

func (k *memoryKeys) Own(context.Context, realm.Realm) (string, []byte, error) {
	return "hs", k.own, k.broken
}

func (k *memoryKeys) Public(context.Context, realm.Realm) (*jose.KeySet, error) {
	if k.broken != nil {
		return nil, k.broken
	}
	return jose.NewKeySet(jose.PublicKey{ID: k.signer.ID, Algorithm: k.signer.Algorithm, Key: k.signer.Key.Public()})
}

func (k *memoryKeys) OwnAgain(ctx context.Context, r realm.Realm) (string, []byte, error) {
	return k.Own(ctx, r)
}

func (k *memoryKeys) PublicAgain(ctx context.Context, r realm.Realm) (*jose.KeySet, error) {
	return k.Public(ctx, r)
}

var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// world is Tokens with a clock that tests move.
type world struct {
	*Tokens
	keys *memoryKeys
	now  time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{keys: newMemoryKeys(t), now: start}
	var err error
	w.Tokens, err = New(Config{Keys: w.keys, Now: func() time.Time { return w.now }, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var (
	testRealm  = realm.Realm{ID: "r", Name: "demo", Issuer: "https://id.example/realms/demo", Settings: realm.Settings{SSOSessionIdleTimeout: 30 * time.Minute}}
	testClient = Client{ClientID: "app", AllowedOrigins: []string{"https://app.example"}, AccessLife: 5 * time.Minute}
	alice      = Claims{Access: aboutAlice, ID: aboutAlice}
	aboutAlice = map[string]any{
		"preferred_username": "alice", "email": "alice@example.com", "email_verified": true,
		"name": "Alice Test", "given_name": "Alice", "family_name": "Test",
	}
)

func testGrant() session.Grant {
	return session.Grant{
		User:    session.UserSession{ID: "sid-1", UserID: "user-1", AuthTime: start.Add(-time.Minute), ACR: "1"},
		Client:  session.ClientSession{SessionID: "sid-1", ClientID: "app", Scope: "openid profile email"},
		Family:  session.Family{ID: "family-1", Generation: 3, Rotated: start},
		Rev:     7,
		Idle:    30 * time.Minute,
		Expires: start.Add(10 * time.Hour),
	}
}

// payload is the token's claims without verification.
func payload(t testing.TB, token string) map[string]any {
	t.Helper()
	_, data, err := jose.Unverified(token)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(data, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func header(t testing.TB, token string) jose.Header {
	t.Helper()
	h, err := jose.ParseHeader(token)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// anyID replaces a jti by its prefix and checks that a UUID follows.
func anyID(t *testing.T, claims map[string]any) {
	t.Helper()
	prefix, id, ok := strings.Cut(claims["jti"].(string), ":")
	if !ok {
		prefix, id = "", prefix
	}
	if len(id) != 36 {
		t.Errorf("jti %q does not end in a UUID", claims["jti"])
	}
	claims["jti"] = prefix
}

func TestUserTokensHaveKeycloaksShape(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: testGrant(), Kind: "ac", Nonce: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	iat := float64(start.Unix())
	profile := map[string]any{
		"email_verified": true, "name": "Alice Test", "preferred_username": "alice",
		"given_name": "Alice", "family_name": "Test", "email": "alice@example.com",
	}
	with := func(claims map[string]any) map[string]any {
		for k, v := range profile {
			claims[k] = v
		}
		return claims
	}
	tests := []struct {
		name, token string
		header      jose.Header
		want        map[string]any
	}{
		{"access", set.AccessToken, jose.Header{Algorithm: jose.ES256, KeyID: "es", Type: "at+jwt"}, with(map[string]any{
			"exp": iat + 300, "iat": iat, "auth_time": iat - 60, "jti": "onrtac", "iss": testRealm.Issuer, "aud": "account",
			"sub": "user-1", "typ": "Bearer", "azp": "app", "client_id": "app", "sid": "sid-1", "acr": "1",
			"allowed-origins": []any{"https://app.example"}, "scope": "openid profile email", "rev": 7.0,
		})},
		{"ID", set.IDToken, jose.Header{Algorithm: jose.ES256, KeyID: "es", Type: "JWT"}, with(map[string]any{
			"exp": iat + 300, "iat": iat, "auth_time": iat - 60, "jti": "", "iss": testRealm.Issuer, "aud": "app",
			"sub": "user-1", "typ": "ID", "azp": "app", "nonce": "n1", "sid": "sid-1", "acr": "1",
			"at_hash": tokenHash(jose.ES256, set.AccessToken), "rev": 7.0,
		})},
		{"refresh", set.RefreshToken, jose.Header{Algorithm: jose.HS512, KeyID: "hs", Type: "JWT"}, map[string]any{
			"exp": iat + 1800, "iat": iat, "jti": "", "iss": testRealm.Issuer, "aud": testRealm.Issuer,
			"sub": "user-1", "typ": "Refresh", "azp": "app", "sid": "sid-1", "scope": "openid profile email",
			"reuse_id": "family-1", "gen": 3.0,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := payload(t, tt.token)
			anyID(t, got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			if got := header(t, tt.token); got != tt.header {
				t.Errorf("header = %+v, want %+v", got, tt.header)
			}
		})
	}
	if set.ExpiresIn != 5*time.Minute || set.RefreshExpiresIn != 30*time.Minute || set.SessionID != "sid-1" || set.Scope != "openid profile email" {
		t.Errorf("set = %+v", set)
	}
}

func TestClientTokensHaveKeycloaksShape(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := testClient
	c.AllowedOrigins = nil
	service := Claims{Access: map[string]any{"preferred_username": "service-account-app"}, Audience: []string{"api", "other"}}
	set, err := w.MintClient(t.Context(), testRealm, ClientOrder{Client: c, Subject: "service-1", Scope: "api:read", Claims: service})
	if err != nil {
		t.Fatal(err)
	}
	got := payload(t, set.AccessToken)
	anyID(t, got)
	iat := float64(start.Unix())
	want := map[string]any{
		"exp": iat + 300, "iat": iat, "jti": "trrtcc", "iss": testRealm.Issuer, "aud": []any{"api", "other"},
		"sub": "service-1", "typ": "Bearer", "azp": "app", "client_id": "app", "acr": "1", "scope": "api:read",
		"preferred_username": "service-account-app", "rev": 0.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if set.RefreshToken != "" || set.IDToken != "" || set.RefreshExpiresIn != 0 || set.ExpiresIn != 5*time.Minute {
		t.Errorf("set = %+v", set)
	}
}

func TestAnIDTokenIsForOpenIDAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for scope, want := range map[string]bool{"openid": true, "a openid": true, "": false, "profile openid2": false} {
		g := testGrant()
		g.Client.Scope = scope
		set, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Grant: g, Kind: "rt"})
		if err != nil || (set.IDToken != "") != want {
			t.Errorf("scope %q: ID token %q, %v", scope, set.IDToken, err)
		}
	}
}

// TestReleasedClaimsReplaceNoneOfTheProtocols: whatever a mapper is called.
func TestReleasedClaimsReplaceNoneOfTheProtocols(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Grant: testGrant(), Kind: "ac"})
	if err != nil {
		t.Fatal(err)
	}
	more := map[string]any{"mine": "x"}
	for _, token := range []string{plain.AccessToken, plain.IDToken, plain.RefreshToken} {
		for name := range payload(t, token) {
			more[name] = "evil"
		}
	}
	more["cnf"], more["act"] = "evil", "evil"
	set, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Grant: testGrant(), Kind: "ac", Claims: Claims{Access: more, ID: more}})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{set.AccessToken, set.IDToken} {
		got := payload(t, token)
		if got["mine"] != "x" {
			t.Errorf("the claim of its own name is missing: %v", got)
		}
		for name, value := range got {
			if value == "evil" {
				t.Errorf("%s was replaced", name)
			}
		}
	}
}

// RFC 9449 §6.1, RFC 8705 §3.1; Keycloak 26 says typ DPoP.
func TestABoundTokenSaysToWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		binding session.Binding
		typ     string
		cnf     any
	}{
		{session.Binding{}, "Bearer", nil},
		{session.Binding{JKT: "k"}, "DPoP", map[string]any{"jkt": "k"}},
		{session.Binding{X5T: "c"}, "Bearer", map[string]any{"x5t#S256": "c"}},
	} {
		user, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Grant: testGrant(), Kind: "ac", Binding: tt.binding})
		if err != nil {
			t.Fatal(err)
		}
		machine, err := w.MintClient(t.Context(), testRealm, ClientOrder{Client: testClient, Subject: "s", Binding: tt.binding})
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []Set{user, machine} {
			got := payload(t, set.AccessToken)
			if diff := cmp.Diff(tt.cnf, got["cnf"]); diff != "" || got["typ"] != tt.typ || set.Type != tt.typ {
				t.Errorf("%+v: typ %v, token_type %s, cnf %v", tt.binding, got["typ"], set.Type, got["cnf"])
			}
			if read, err := w.Read(t.Context(), testRealm, set.AccessToken); err != nil || read.Kind != Access {
				t.Errorf("%+v reads as %v, %v", tt.binding, read.Kind, err)
			}
		}
	}
}

func TestNoTokenOutlivesItsSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := testGrant()
	g.Expires = start.Add(90*time.Second + 900*time.Millisecond)
	set, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: g, Kind: "ac", Nonce: ""})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{set.AccessToken, set.IDToken, set.RefreshToken} {
		if got, want := payload(t, token)["exp"], float64(start.Unix()+90); got != want {
			t.Errorf("exp = %v, want %v", got, want)
		}
	}
	if set.ExpiresIn != 90*time.Second || set.RefreshExpiresIn != 90*time.Second {
		t.Errorf("expires in %v, %v", set.ExpiresIn, set.RefreshExpiresIn)
	}
	g.Expires = start.Add(999 * time.Millisecond)
	if _, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: g, Kind: "ac", Nonce: ""}); !errors.Is(err, ErrSessionOver) {
		t.Errorf("session that ends within the second: %v", err)
	}
}

func TestOfflineTokensDoNotExpireByThemselves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := testGrant()
	g.User.Offline, g.Expires = true, time.Time{}
	set, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: g, Kind: "ac", Nonce: ""})
	if err != nil {
		t.Fatal(err)
	}
	w.now = start.Add(1000 * time.Hour)
	read, err := w.Read(t.Context(), testRealm, set.RefreshToken)
	if err != nil || read.Kind != Offline || read.Expired || !read.Expires.IsZero() || set.RefreshExpiresIn != 0 {
		t.Errorf("offline token: %+v, %v; refresh_expires_in %v", read, err, set.RefreshExpiresIn)
	}
	if id := payload(t, set.AccessToken)["jti"].(string); !strings.HasPrefix(id, "ofrtac:") {
		t.Errorf("jti = %q", id)
	}
}

func TestASuccessorIsTheSameHoweverOftenItIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mint := func(g session.Grant) string {
		set, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: g, Kind: "rt", Nonce: ""})
		if err != nil {
			t.Fatal(err)
		}
		return set.RefreshToken
	}
	g := testGrant()
	first := mint(g)
	w.now = w.now.Add(5 * time.Second)
	g.Rev = 99 // what happens elsewhere in between must not show
	if again := mint(g); again != first {
		t.Error("a repeated refresh gave another token")
	}
	ids := map[any]bool{payload(t, first)["jti"]: true}
	g.Family.Generation++
	ids[payload(t, mint(g))["jti"]] = true
	g.Family.ID = "family-2"
	ids[payload(t, mint(g))["jti"]] = true
	w.keys.own = append([]byte{1}, w.keys.own[1:]...)
	ids[payload(t, mint(g))["jti"]] = true
	if len(ids) != 4 {
		t.Errorf("%d different jti, want 4", len(ids))
	}
}

func TestAtHash(t *testing.T) {
	t.Parallel()
	// The example token of OpenID Connect Core A.3.
	if got := tokenHash(jose.RS256, "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"); got != "77QmUPtjPfzWtF2AnpK9RQ" {
		t.Errorf("at_hash = %q", got)
	}
	for alg, n := range map[jose.Algorithm]int{jose.ES384: 32, jose.PS512: 43, jose.EdDSA: 43} {
		if got := len(tokenHash(alg, "x")); got != n {
			t.Errorf("%s: %d characters, want %d", alg, got, n)
		}
	}
}

func TestWhateverIsMintedReadsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := rapid.StringN(1, 20, 60)
	rapid.Check(t, func(rt *rapid.T) {
		c := Client{ClientID: text.Draw(rt, "client"), AccessLife: time.Duration(rapid.IntRange(1, 1e6).Draw(rt, "life")) * time.Second}
		g := testGrant()
		g.User.ID, g.User.UserID, g.User.Offline = text.Draw(rt, "sid"), text.Draw(rt, "sub"), rapid.Bool().Draw(rt, "offline")
		g.Client.Scope = "openid " + text.Draw(rt, "scope")
		g.Family.ID, g.Family.Generation = text.Draw(rt, "family"), rapid.Uint64().Draw(rt, "generation")
		g.Rev = revocation.Revision(rapid.Uint64().Draw(rt, "rev"))
		p := Claims{Access: map[string]any{"name": text.Draw(rt, "name")}, ID: map[string]any{"email": text.Draw(rt, "email")}, Audience: rapid.SliceOfN(text, 0, 3).Draw(rt, "aud")}
		set, err := w.MintUser(t.Context(), testRealm, Order{Client: c, Claims: p, Grant: g, Kind: "ac", Nonce: text.Draw(rt, "nonce")})
		if err != nil {
			rt.Fatal(err)
		}
		aud := p.Audience
		if len(aud) == 0 {
			aud = []string{"account"}
		}
		refresh := Refresh
		if g.User.Offline {
			refresh = Offline
		}
		common := revocation.Token{Issuer: testRealm.Issuer, Session: g.User.ID, Subject: g.User.UserID, Client: c.ClientID, IssuedAt: time.Unix(start.Unix(), 0)}
		access, id, own := common, common, common
		access.Key, access.Rev, access.HasRev = "es", g.Rev, true
		id.Key, own.Key = "es", "hs"
		id.Rev, id.HasRev = g.Rev, true
		for _, tt := range []struct {
			compact string
			want    Read
		}{
			{set.AccessToken, Read{Kind: Access, Token: access, Audience: aud, Scope: g.Client.Scope}},
			{set.IDToken, Read{Kind: ID, Token: id, Audience: []string{c.ClientID}}},
			{set.RefreshToken, Read{Kind: refresh, Token: own, Audience: []string{testRealm.Issuer}, Scope: g.Client.Scope, FamilyID: g.Family.ID, Generation: g.Family.Generation}},
		} {
			got, err := w.Read(t.Context(), testRealm, tt.compact)
			if err != nil {
				rt.Fatalf("%s: %v", tt.want.Kind, err)
			}
			if got.Token.ID == "" || got.Expires.IsZero() != (got.Kind == Offline && g.Expires.IsZero()) || got.Expired {
				rt.Fatalf("%s: %+v", tt.want.Kind, got)
			}
			got.Claims, got.Expires, got.Token.ID = nil, time.Time{}, ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				rt.Fatalf("%s (-want +got):\n%s", tt.want.Kind, diff)
			}
		}
	})
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: testGrant(), Kind: "ac", Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	signed := func(typ string, change func(map[string]any)) string {
		claims := payload(t, set.AccessToken)
		change(claims)
		data, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := w.keys.signer.Sign(typ, data)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	own := func(kid, typ string, change func(map[string]any)) string {
		claims := payload(t, set.RefreshToken)
		change(claims)
		data, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jose.SignHS512(kid, w.keys.own, typ, data)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	same := func(map[string]any) {}
	put := func(name string, v any) func(map[string]any) { return func(c map[string]any) { c[name] = v } }
	drop := func(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }
	stranger := newWorld(t)
	foreign, err := stranger.MintClient(t.Context(), testRealm, ClientOrder{Client: testClient, Subject: "s", Scope: "", Rev: 0})
	if err != nil {
		t.Fatal(err)
	}
	strangerSet, err := stranger.MintUser(t.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: testGrant(), Kind: "ac", Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"garbage":                        "garbage",
		"empty":                          "",
		"another key":                    foreign.AccessToken,
		"another HS512 key":              strangerSet.RefreshToken,
		"another issuer":                 signed("at+jwt", put("iss", "https://id.example/realms/other")),
		"logout token":                   signed("logout+jwt", same),
		"ID token said to be access":     signed("at+jwt", put("typ", "ID")),
		"refresh token with public key":  signed("JWT", put("typ", "Refresh")),
		"access token with HS512":        own("hs", "JWT", put("typ", "Bearer")),
		"HS512 under another kid":        own("es", "JWT", same),
		"HS512 under another typ":        own("hs", "at+jwt", same),
		"refresh token for another":      own("hs", "JWT", put("aud", "app")),
		"refresh token without family":   own("hs", "JWT", drop("reuse_id")),
		"refresh token without exp":      own("hs", "JWT", drop("exp")),
		"generation not a number":        own("hs", "JWT", put("gen", "3")),
		"unknown typ claim":              signed("JWT", put("typ", "Other")),
		"no typ claim":                   signed("JWT", drop("typ")),
		"no jti":                         signed("at+jwt", drop("jti")),
		"no sub":                         signed("at+jwt", drop("sub")),
		"no azp":                         signed("at+jwt", drop("azp")),
		"no iat":                         signed("at+jwt", drop("iat")),
		"no exp":                         signed("at+jwt", drop("exp")),
		"exp not a number":               signed("at+jwt", put("exp", "soon")),
		"exp a fraction":                 signed("at+jwt", put("exp", 1.5)),
		"exp beyond reason":              signed("at+jwt", put("exp", 1e17)),
		"rev not a number":               signed("at+jwt", put("rev", "7")),
		"sid not a string":               signed("at+jwt", put("sid", 7)),
		"aud not a string":               signed("at+jwt", put("aud", 7)),
		"aud holds a number":             signed("at+jwt", put("aud", []any{"a", 7})),
		"aud empty":                      signed("at+jwt", put("aud", []any{})),
		"signature cut off the ID token": set.IDToken[:len(set.IDToken)-4],
	}
	for name, token := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if read, err := w.Read(t.Context(), testRealm, token); !errors.Is(err, ErrInvalid) {
				t.Errorf("Read = %+v, %v", read, err)
			}
		})
	}
	for _, token := range []string{signed("at+jwt", same), signed("JWT", same), own("hs", "JWT", same)} {
		if _, err := w.Read(t.Context(), testRealm, token); err != nil {
			t.Errorf("control: %v", err)
		}
	}
}

func TestAnExpiredTokenIsReturnedAsSuch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set, err := w.MintClient(t.Context(), testRealm, ClientOrder{Client: testClient, Subject: "s", Scope: "", Rev: 0})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		after   time.Duration
		expired bool
	}{{299 * time.Second, false}, {300 * time.Second, true}, {time.Hour, true}} {
		w.now = start.Add(tt.after)
		if read, err := w.Read(t.Context(), testRealm, set.AccessToken); err != nil || read.Expired != tt.expired {
			t.Errorf("after %v: expired %t, %v", tt.after, read.Expired, err)
		}
	}
}

func TestAFailureOfTheKeysIsNotTheTokensFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: testGrant(), Kind: "ac", Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	w.keys.broken = errors.New("store is away")
	for _, token := range []string{set.AccessToken, set.RefreshToken} {
		if _, err := w.Read(t.Context(), testRealm, token); !errors.Is(err, w.keys.broken) || errors.Is(err, ErrInvalid) {
			t.Errorf("Read = %v", err)
		}
	}
	if _, err := w.MintUser(t.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: testGrant(), Kind: "ac", Nonce: "n"}); !errors.Is(err, w.keys.broken) {
		t.Errorf("MintUser = %v", err)
	}
}

func FuzzRead(f *testing.F) {
	w := newWorld(f)
	set, err := w.MintUser(f.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: testGrant(), Kind: "ac", Nonce: "n"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{}`), false)
	for _, token := range []string{set.AccessToken, set.IDToken, set.RefreshToken} {
		_, data, err := jose.Unverified(token)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, token == set.RefreshToken)
	}
	f.Fuzz(func(t *testing.T, data []byte, own bool) {
		var token string
		var err error
		if own {
			token, err = jose.SignHS512("hs", w.keys.own, typJWT, data)
		} else {
			token, err = w.keys.signer.Sign(typJWT, data)
		}
		if err != nil {
			return
		}
		read, err := w.Read(t.Context(), testRealm, token)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if read.Token.ID == "" || read.Token.Subject == "" || read.Token.Issuer != testRealm.Issuer || len(read.Audience) == 0 ||
			(read.Kind == Refresh || read.Kind == Offline) != own || own != (read.FamilyID != "") {
			t.Fatalf("read %+v", read)
		}
	})
}

func BenchmarkMintClient(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		if _, err := w.MintClient(b.Context(), testRealm, ClientOrder{Client: testClient, Subject: "s", Scope: "api:read api:write", Rev: 9}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMintUser(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		if _, err := w.MintUser(b.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: testGrant(), Kind: "ac", Nonce: "n"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	w := newWorld(b)
	set, err := w.MintUser(b.Context(), testRealm, Order{Client: testClient, Claims: alice, Grant: testGrant(), Kind: "ac", Nonce: "n"})
	if err != nil {
		b.Fatal(err)
	}
	for name, token := range map[string]string{"access": set.AccessToken, "refresh": set.RefreshToken} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := w.Read(b.Context(), testRealm, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSignature is the bare signature that minting is measured against.
func BenchmarkSignature(b *testing.B) {
	key := newMemoryKeys(b).signer.Key.(*ecdsa.PrivateKey)
	digest := make([]byte, 32)
	for b.Loop() {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest); err != nil {
			b.Fatal(err)
		}
	}
}
