package verify

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/tegata/tegata/revocation"
)

// TestWhatIsAcceptedIsRead: tokens of other issuers look different; each row
// is one difference that is no fault.
func TestWhatIsAcceptedIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	tests := []struct {
		name   string
		claims map[string]any
		check  func(*Token) bool
	}{
		{"audience among others", map[string]any{"aud": []string{"account", audience}}, nil},
		{"no typ claim", map[string]any{"typ": nil}, nil},
		{"no scope", map[string]any{"scope": nil}, func(t *Token) bool { return len(t.Scopes) == 0 }},
		{"scope empty", map[string]any{"scope": ""}, func(t *Token) bool { return len(t.Scopes) == 0 }},
		{"scope between many spaces", map[string]any{"scope": " b  a "}, func(t *Token) bool { return slices.Equal(t.Scopes, []string{"b", "a"}) }},
		{"scope twice", map[string]any{"scope": "a b a"}, func(t *Token) bool { return slices.Equal(t.Scopes, []string{"a", "b"}) }},
		{"scope a list", map[string]any{"scope": []string{"a", "b"}}, func(t *Token) bool { return slices.Equal(t.Scopes, []string{"a", "b"}) }},
		{"client_id alone", map[string]any{"azp": nil, "client_id": "cli"}, func(t *Token) bool { return t.Revocation.Client == "cli" }},
		{"azp before client_id", map[string]any{"azp": "a", "client_id": "c"}, func(t *Token) bool { return t.Revocation.Client == "a" }},
		{"no rev", map[string]any{"rev": nil}, func(t *Token) bool { return !t.Revocation.HasRev && t.Revocation.Rev == 0 }},
		{"rev zero", map[string]any{"rev": 0}, func(t *Token) bool { return t.Revocation.HasRev && t.Revocation.Rev == 0 }},
		{"rev of 64 bits", map[string]any{"rev": uint64(1<<64 - 1)}, func(t *Token) bool { return t.Revocation.Rev == revocation.Revision(1<<64-1) }},
		{"no iat", map[string]any{"iat": nil}, func(t *Token) bool { return t.Revocation.IssuedAt.IsZero() }},
		{"nbf zero", map[string]any{"nbf": 0}, func(t *Token) bool { return t.NotBefore.Equal(time.Unix(0, 0)) }},
		{"nbf within leeway", map[string]any{"nbf": start.Add(defaultLeeway).Unix()}, nil},
		{"iat within leeway", map[string]any{"iat": start.Add(defaultLeeway).Unix()}, nil},
		{"exp within leeway", map[string]any{"exp": start.Add(time.Second - defaultLeeway).Unix()}, nil},
		{"claims of its own", map[string]any{"x": map[string]any{"y": []any{nil, true, 1.5, "z"}}}, func(t *Token) bool {
			return strings.Contains(t.Document().String(), `"x": {"y": [null, true, 1.5, "z"]}`)
		}},
	}
	v := w.verifier(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			token := verified(t, v, w.token(t, tt.claims))
			if tt.check != nil && !tt.check(token) {
				t.Errorf("got %+v, scopes %q, input %v", token.Revocation, token.Scopes, token.Document())
			}
		})
	}
}

func TestWhatIsNotThereIsUndefined(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	token := verified(t, w.verifier(t, nil), w.token(t, map[string]any{"azp": nil, "client_id": nil, "sid": nil, "scope": nil}))
	input := token.Document().Value.(ast.Object)
	for _, name := range []string{"client", "session"} {
		if got := input.Get(ast.StringTerm(name)); got != nil {
			t.Errorf("%s: got %v, want undefined", name, got)
		}
	}
	if got := input.Get(ast.StringTerm("scopes")); got == nil || got.Value.Compare(ast.NewSet()) != 0 {
		t.Errorf("scopes: got %v, want the empty set", got)
	}
}

// TestAnIssuerIsTakenAsConfigured: what an issuer is trusted with is its own.
func TestAnIssuerIsTakenAsConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	v := w.verifier(t, func(c *Config) {
		c.Issuers = []Issuer{{
			Issuer: home, InsecureAnyAudience: true, Types: []string{"JWT", ""}, Leeway: time.Minute,
			ScopeClaim: "scp", JWKSURL: "https://keys.example/jwks",
		}}
	})
	body := string(must(json.Marshal(with(map[string]any{
		"aud": nil, "scp": []string{"a"}, "exp": start.Add(-59 * time.Second).Unix(),
	})))(t))
	token := verified(t, v, w.sign(t, "JWT", body))
	if !slices.Equal(token.Scopes, []string{"a"}) {
		t.Errorf("scopes: got %q", token.Scopes)
	}
	verified(t, v, w.raw(t, map[string]any{"alg": "ES256"}, body)) // no typ; no kid in a set of one
	if got := verified(t, v, w.raw(t, map[string]any{"alg": "ES256"}, body)).Revocation.Key; got != "k1" {
		t.Errorf("a token without kid: got key %q, want the one it was verified with", got)
	}
	if w.fetches != 1 {
		t.Errorf("got %d requests, want one: no discovery", w.fetches)
	}
}

// TestIssuersAreNotMixedUp: a key of one issuer does not sign for another.
func TestIssuersAreNotMixedUp(t *testing.T) {
	t.Parallel()
	const other = "https://other.example"
	w := newWorld(t, "k1")
	v := w.verifier(t, func(c *Config) {
		c.HTTP.Transport = hosts{"id.example": w, "other.example": newWorld(t, "k1", "k2")}
		c.Issuers = append(c.Issuers, Issuer{Issuer: other, Audience: []string{audience}, JWKSURL: other + "/jwks"})
	})
	verified(t, v, w.token(t, nil))
	if _, err := v.Verify(t.Context(), w.token(t, map[string]any{"iss": other})); err == nil {
		t.Error("accepted a token of another issuer's key")
	}
}

// TestInputIsShared evaluates one document many times at once: under the race
// detector, a reader that writes fails.
func TestInputIsShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1")
	token := verified(t, w.verifier(t, nil), w.token(t, map[string]any{
		"roles": []any{"b", "a"}, "x": map[string]any{"z": map[string]any{"b": 1, "a": 2}, "n": 1e3},
	}))
	query, err := rego.New(rego.Query("data.p.allow"), rego.Module("p.rego", `package p

allow if {
	"orders:read" in input.token.scopes
	{"a", "b"} == {r | some r in input.token.claims.roles}
	json.marshal(input.token.claims.x) == json.marshal({"n": 1000, "z": {"a": 2, "b": 1}})
	more := input.token.scopes | {"more"}
	object.union(input.token, {"scopes": more}).scopes == more
	object.union_n([input.token, {"claims": {"x": {"z": {"b": 3}}}}]).claims.x.z == {"a": 2, "b": 3}
	object.remove(input.token, ["claims"]).subject == "alice"
	json.patch(input.token, [{"op": "replace", "path": "/claims/x/z/a", "value": 7}]).claims.x.z.a == 7
	count([v | walk(input.token, [_, v])]) > 10
	count({input.token: 1}) == 1
	sort(input.token.claims.roles) == ["a", "b"]
	sprintf("%v", [input.token]) != ""
}`)).PrepareForEval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				input := ast.NewObject(ast.Item(ast.StringTerm("token"), token.Document()))
				result, err := query.Eval(t.Context(), rego.EvalParsedInput(input))
				if err != nil || !result.Allowed() {
					t.Errorf("got %v, %v", result, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestAClaimThatWasNotReadIsNotMissing: one that somebody forgets to name among
// the claims that are read must not pass for one that the token does not have.
func TestAClaimThatWasNotReadIsNotMissing(t *testing.T) {
	t.Parallel()
	d := must(readDocument(`{"iss": "i", "cnf": {"jkt": "x"}}`, map[string]bool{"iss": true}))(t)
	for _, name := range []string{"cnf", "other"} {
		c := claims{object: d.claims, reads: d.reads}
		if c.has(name); c.wrong != name {
			t.Errorf("%s: wrong is %q", name, c.wrong)
		}
	}
}
