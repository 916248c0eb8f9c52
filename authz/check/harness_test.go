package check

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

const issuer = "https://issuer.test/realms/demo"

var now = time.Unix(1_800_000_000, 0)

// bench is a Checker on a real policy engine and a real Set. Only the
// verifier is a table, and Trust a switch.
type bench struct {
	*Checker
	body  string       // of the policy
	files fstest.MapFS // its sources; change, then reload
	set   *revocation.Set
	known *verifier
	trust *atomic.Uint32 // a revocation.Trust
}

// newBench builds one whose policy is body in package envoy.authz. change, if
// not nil, has the last word on the configuration.
func newBench(t testing.TB, body string, change func(*Config)) *bench {
	t.Helper()
	b := &bench{files: fstest.MapFS{}, set: revocation.NewSet(), known: &verifier{}, trust: &atomic.Uint32{}}
	b.write(body)
	b.trust.Store(uint32(revocation.Fresh))
	c := Config{
		Realm: "api", Verifier: b.known, Revocations: b.set,
		Trust: func(string) revocation.Trust { return revocation.Trust(b.trust.Load()) },
	}
	if change != nil {
		change(&c)
	}
	var err error
	if c.Policy == nil {
		c.Policy, err = policy.New(t.Context(), policy.Config{FS: b.files, Deadline: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
	}
	b.Checker, err = New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func file(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content)} }

func (b *bench) write(body string) {
	b.body = body
	b.files["authz.rego"] = file("package envoy.authz\n\n" + body)
}

func (b *bench) reload(t testing.TB, body string) {
	t.Helper()
	b.write(body)
	if err := b.c.Policy.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// cached and evaluated say how often the policy's decision came from where.
func (b *bench) cached(t testing.TB) int    { return count(t, b.metrics.cached) }
func (b *bench) evaluated(t testing.TB) int { return count(t, b.metrics.evaluated) }

func count(t testing.TB, c prometheus.Counter) int {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

// verifier knows tokens and failures by their compact form.
type verifier struct {
	nonce string

	mu        sync.Mutex
	presented []verify.Presented // guarded by mu

	tokens map[string]*verify.Token
	errs   map[string]error
	waits  func() // if not nil: what Verify does first
}

func (v *verifier) add(compact string, t *verify.Token) {
	if v.tokens == nil {
		v.tokens = map[string]*verify.Token{}
	}
	v.tokens[compact] = t
}

func (v *verifier) Nonce() string             { return v.nonce }
func (v *verifier) ProofAlgorithms() []string { return []string{"ES256"} }

func (v *verifier) VerifyBound(_ context.Context, p verify.Presented) (*verify.Token, error) {
	compact := p.Token
	v.mu.Lock()
	v.presented = append(v.presented, p)
	v.mu.Unlock()
	if v.waits != nil {
		v.waits()
	}
	if err := v.errs[compact]; err != nil {
		return nil, err
	}
	if t := v.tokens[compact]; t != nil {
		return t, nil
	}
	return nil, errors.New("no such token")
}

// token makes a verified token whose every id is derived from name.
func token(name string, scopes ...string) *verify.Token {
	return &verify.Token{
		Revocation: revocation.Token{
			Issuer: issuer, ID: "jti-" + name, Session: "sid-" + name, Subject: "sub-" + name,
			Client: "azp-" + name, Key: "kid-" + name, IssuedAt: now,
		},
		Expires: now.Add(time.Minute),
		Scopes:  scopes,
	}
}

// door is a request as some door saw it. Its Input has what the OPA-Envoy
// plugin has at these places, and its Key is the plain one.
type door struct {
	method, path  string
	headers       map[string]string
	authorization []string
	body          ast.Value // parsed_body; nil: there is none
}

func get(path string, authorization ...string) door {
	return door{method: "GET", path: path, authorization: authorization}
}

// input has what is wanted and nothing else, so that whatever a policy reads
// beyond that is found missing.
func (d door) input(wanted []reads.Path) ([][2]*ast.Term, error) {
	members := d.whole()
	if wanted == nil {
		return members, nil
	}
	return part(ast.NewObject(members...), wanted), nil
}

// part is the members of doc that lead to the wanted paths.
func part(doc ast.Object, wanted []reads.Path) (members [][2]*ast.Term) {
	below := map[string][]reads.Path{}
	for _, path := range wanted {
		below[path[0]] = append(below[path[0]], path[1:])
	}
	for name, paths := range below {
		value := doc.Get(ast.StringTerm(name))
		if value == nil {
			continue
		}
		if object, ok := value.Value.(ast.Object); ok && len(paths[0]) > 0 {
			value = ast.ObjectTerm(part(object, paths)...)
		}
		members = append(members, ast.Item(ast.StringTerm(name), value))
	}
	return members
}

func (d door) whole() [][2]*ast.Term {
	headers := ast.NewObject()
	for name, value := range d.headers {
		headers.Insert(ast.StringTerm(name), ast.StringTerm(value))
	}
	http := ast.ObjectTerm(
		[2]*ast.Term{ast.StringTerm("method"), ast.StringTerm(d.method)},
		[2]*ast.Term{ast.StringTerm("path"), ast.StringTerm(d.path)},
		[2]*ast.Term{ast.StringTerm("headers"), ast.NewTerm(headers)},
	)
	request := ast.ObjectTerm([2]*ast.Term{ast.StringTerm("http"), http})
	attributes := ast.ObjectTerm([2]*ast.Term{ast.StringTerm("request"), request})
	members := [][2]*ast.Term{{ast.StringTerm("attributes"), attributes}}
	if d.body != nil {
		members = append(members, [2]*ast.Term{ast.StringTerm("parsed_body"), ast.NewTerm(d.body)})
	}
	return members
}

func (d door) request() Request {
	doc := ast.NewObject(d.whole()...)
	return Request{
		Method: d.method, Path: d.path, Authorization: d.authorization, Input: d.input,
		Key: func(dst []byte, path reads.Path) ([]byte, bool) {
			v, err := doc.Find(path.Ref())
			if err != nil {
				return reads.AppendUndefined(dst), true
			}
			return reads.AppendValue(dst, v)
		},
	}
}

func (b *bench) check(t testing.TB, d door) Decision {
	t.Helper()
	return b.Check(t.Context(), d.request())
}
