package check

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/revocation"
)

// TestEqualQuestionIsEvaluatedOnce: and a question that differs in what the
// policy reads is another.
func TestEqualQuestionIsEvaluatedOnce(t *testing.T) {
	t.Parallel()
	const http = "input.attributes.request.http."
	base := door{method: "GET", path: "/a", headers: map[string]string{"x-a": "1"}, authorization: []string{"Bearer a"}}
	other := func(change func(*door)) door { d := base; change(&d); return d }
	var (
		same    = base
		method  = other(func(d *door) { d.method = "PUT" })
		path    = other(func(d *door) { d.path = "/b" })
		header  = other(func(d *door) { d.headers = map[string]string{"x-a": "2"} })
		gone    = other(func(d *door) { d.headers = nil })
		empty   = other(func(d *door) { d.headers = map[string]string{"x-a": ""} })
		unread  = other(func(d *door) { d.headers = map[string]string{"x-a": "1", "x-b": "2"} })
		token2  = other(func(d *door) { d.authorization = []string{"Bearer b"} })
		noToken = other(func(d *door) { d.authorization = nil })
	)
	tests := []struct {
		name, condition string
		then            door
		fresh           bool
	}{
		{"same", http + `method == "GET"`, same, false},
		{"method", http + `method == "GET"`, method, true},
		{"method is not read", http + `path == "/a"`, method, false},
		{"path", http + `path == "/a"`, path, true},
		{"path is not read", http + `method == "GET"`, path, false},
		{"header", http + `headers["x-a"] == "1"`, header, true},
		{"header gone", http + `headers["x-a"] == "1"`, gone, true},
		{"header empty", http + `headers["x-a"] == "1"`, empty, true},
		{"only whether it is there", "not " + http + `headers["x-a"]`, gone, true},
		{"header is not read", http + `headers["x-a"] == "1"`, unread, false},
		{"all headers are read", `"1" in object.keys(` + http + `headers)`, unread, true},
		{"a header named by another", http + `headers[` + http + `path] == "1"`, unread, true},
		{"passed through a function", "f(" + http + `headers["x-a"])`, header, true},
		{"route", `input.route == "/a"`, path, true},
		{"same route", `input.route == "/a"`, other(func(d *door) { d.path = "/a?q" }), false},
		{"another token", `input.token.subject == "sub-a"`, token2, true},
		{"another token, not read", http + `method == "GET"`, token2, true},
		{"no token", http + `method == "GET"`, noToken, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "default allow := false\nallow if "+tt.condition+"\nf(x) if x == \"1\"\n", nil)
			b.files["tegata/routes/data.yaml"] = file("/a: {GET: {}}\n/b: {GET: {}}\n")
			b.reload(t, b.body)
			b.known.add("a", token("a"))
			b.known.add("b", token("b"))
			b.check(t, base)
			b.check(t, tt.then)
			want := 1
			if tt.fresh {
				want = 2
			}
			if e, c := b.evaluated(t), b.cached(t); e != want || c != 2-want {
				t.Errorf("%d evaluations and %d from memory, want %d and %d", e, c, want, 2-want)
			}
		})
	}
}

// TestRevocationStateIsPartOfTheQuestion for a policy that reads it.
func TestRevocationStateIsPartOfTheQuestion(t *testing.T) {
	t.Parallel()
	b := newBench(t, "allow := input.revocation.revision < 2", nil)
	b.known.add("a", token("a"))
	for _, step := range []struct {
		head      revocation.Revision
		want      Reason
		evaluated int
	}{{0, Allowed, 1}, {0, Allowed, 1}, {1, Allowed, 2}, {2, PolicyDenied, 3}, {2, PolicyDenied, 3}} {
		b.set.Apply(nil, step.head)
		d := b.check(t, get("/", "Bearer a"))
		if d.Reason != step.want || b.evaluated(t) != step.evaluated {
			t.Errorf("at revision %d: %s after %d evaluations, want %s after %d", step.head, d.Reason, b.evaluated(t), step.want, step.evaluated)
		}
	}
}

// TestNothingIsRememberedThatIsNotSound has a row for each reason not to.
func TestNothingIsRememberedThatIsNotSound(t *testing.T) {
	t.Parallel()
	const plain = `allow := input.attributes.request.http.method == "GET"`
	unkeyed := func(dst []byte, _ reads.Path) ([]byte, bool) { return dst, false }
	tests := []struct {
		name, body string
		change     func(*Config)
		request    func(*Request)
	}{
		{name: "clock", body: `allow if time.now_ns() > 0`},
		{name: "randomness", body: `allow if rand.intn("x", 10) < 10`},
		{name: "network", body: "default allow := true\nallow if http.send({\"method\": \"GET\", \"url\": input.url})"},
		{name: "environment", body: `allow if opa.runtime()`},
		{name: "the clock, by a builtin not flagged", body: "default allow := true\nallow if io.jwt.decode_verify(input.jwt, {})[0]"},
		{name: "in a rule that is never asked", body: "allow := true\nother if time.now_ns() > 0"},
		{name: "the whole input", body: `allow if count(input) > 0`},
		{name: "switched off", body: plain, change: func(c *Config) { c.NoCache = true }},
		{name: "door without keys", body: plain, request: func(r *Request) { r.Key = nil }},
		{name: "door without this key", body: plain, request: func(r *Request) { r.Key = unkeyed }},
		{name: "key too long", body: plain, request: func(r *Request) {
			r.Key = func(dst []byte, _ reads.Path) ([]byte, bool) {
				return reads.AppendString(dst, strings.Repeat("x", maxKey)), true
			}
		}},
		{name: "no token", body: plain, request: func(r *Request) { r.Authorization = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, tt.body, tt.change)
			b.known.add("a", token("a"))
			r := get("/", "Bearer a").request()
			if tt.request != nil {
				tt.request(&r)
			}
			for range 3 {
				if d := b.Check(t.Context(), r); !d.Allowed {
					t.Errorf("refused: %s (%s)", d.Reason, d.Detail)
				}
			}
			if b.evaluated(t) != 3 || b.cached(t) != 0 {
				t.Errorf("%d evaluations and %d from memory, want 3 and 0", b.evaluated(t), b.cached(t))
			}
		})
	}
}

// TestReloadForgets: the new policy is asked at once, and a return to the old
// one finds nothing of before.
func TestReloadForgets(t *testing.T) {
	t.Parallel()
	b := newBench(t, "allow := true", nil)
	b.known.add("a", token("a"))
	for i, step := range []struct {
		body string
		want Reason
	}{{"allow := true", Allowed}, {"allow := false", PolicyDenied}, {"allow := true", Allowed}} {
		b.reload(t, step.body)
		for range 2 {
			if d := b.check(t, get("/", "Bearer a")); d.Reason != step.want {
				t.Errorf("%s: %s", step.body, d.Reason)
			}
		}
		if got := b.evaluated(t); got != i+1 {
			t.Errorf("%s: %d evaluations, want %d", step.body, got, i+1)
		}
	}
}

// TestMemoryOfATokenIsBounded whatever its bearer asks.
func TestMemoryOfATokenIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, `allow := startswith(input.attributes.request.http.path, "/")`, nil)
	tok := token("a")
	b.known.add("a", tok)
	for i := range 10 * maxRemembered {
		if d := b.check(t, get(fmt.Sprint("/", i), "Bearer a")); !d.Allowed {
			t.Fatalf("refused: %s", d.Detail)
		}
		m := tok.Memo.Load().(*memory)
		if n := len(m.decisions); n == 0 || n > maxRemembered {
			t.Fatalf("%d decisions are remembered", n)
		}
	}
}

// TestOldPolicyDoesNotAnswerForTheNew: a decision that was under way during a
// reload may be remembered late, but only under the policy that made it.
func TestOldPolicyDoesNotAnswerForTheNew(t *testing.T) {
	t.Parallel()
	b := newBench(t, "allow := true", nil)
	tok := token("a")
	old := b.c.Policy.Current()
	b.reload(t, "allow := false")
	key := []byte("k")
	remember(tok, old, key, policy.Result{Allowed: true})
	if r := recall(tok, b.c.Policy.Current(), key); r != nil {
		t.Errorf("recalled %+v", r)
	}
	if r := recall(tok, old, key); r == nil || !r.result.Allowed {
		t.Errorf("the old policy recalls %+v", r)
	}
	remember(tok, b.c.Policy.Current(), []byte("other"), policy.Result{})
	if r := recall(tok, b.c.Policy.Current(), key); r != nil {
		t.Errorf("the new policy took over %+v", r)
	}
}
