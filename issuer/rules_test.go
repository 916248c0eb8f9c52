package issuer_test

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/tegata/tegata/issuer"
)

// A rule is one thing that a specification demands of an authorization server,
// a MUST or a MUST NOT, and the proof that this one does it. Each specification
// has a file of rules: rfc6749_test.go and so on, in the order of its sections.
type rule struct {
	section string // as in the specification: "4.1.2.1"
	must    string // what it demands, in our words
	proof   proof
}

// A proof asks a server that all rules of a table share. Who moves its clock,
// changes its realm or guesses passwords starts one of its own.
type proof func(*testing.T, *server)

// prove proves the rules of one specification on one server, which has more
// clients than the demo realm.
func prove(t *testing.T, rules []rule, more ...issuer.Client) {
	t.Parallel()
	s := start(t)
	if len(more) > 0 {
		s.importMore(more...)
	}
	for _, r := range rules {
		t.Run("§"+r.section+" "+r.must, func(t *testing.T) {
			t.Parallel()
			r.proof(t, s.of(t))
		})
	}
}

// of is the server as a test of its own sees it.
func (s *server) of(t *testing.T) *server {
	mine := *s
	mine.t = t
	return &mine
}

// by says that tests of this package prove a rule, which have more to do than
// one row can hold. That they are there is the compiler's to check.
func by(tests ...func(*testing.T)) proof {
	return func(t *testing.T, _ *server) {
		for _, test := range tests {
			name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
			t.Log("proven by ", name[strings.LastIndex(name, ".")+1:])
		}
	}
}

// told says that exchanges of a transcript prove a rule.
func told(file string, exchanges ...string) proof {
	return in("testdata/"+file, "### ", exchanges)
}

// tested says that tests of another package prove a rule.
func tested(file string, tests ...string) proof { return in(file, "func ", tests) }

// in checks that the proof is where it is said to be.
func in(file, mark string, names []string) proof {
	return func(t *testing.T, _ *server) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.Contains(string(text), "\n"+mark+name) {
				t.Errorf("%s has no %q", file, name)
			}
		}
	}
}

// atAuth is what becomes of an authorization request of client app in a
// browser without a session, see outcome. An empty value removes a parameter.
func atAuth(change url.Values, want string) proof {
	return func(t *testing.T, s *server) {
		query := authorize("app", "openid")
		for name, values := range change {
			query[name] = values
			if values[0] == "" {
				query.Del(name)
			}
		}
		if got := outcome(s, newBrowser(t, s).ask(query), query.Get("state")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// atDoor is what becomes of a form that a client posts, with its secret; code
// is the error, or empty.
func atDoor(path, clientID string, form url.Values, status int, code string) proof {
	return func(t *testing.T, s *server) {
		var header http.Header
		if clientID != "" {
			header = basic(clientID)
		}
		got, _, answer := s.call(path, form, header)
		if said, _ := answer["error"].(string); got != status || said != code {
			t.Errorf("%d %v, want %d %s", got, answer, status, code)
		}
	}
}

// all are several proofs of one rule.
func all(proofs ...proof) proof {
	return func(t *testing.T, s *server) {
		for _, p := range proofs {
			p(t, s)
		}
	}
}

// tokens are those of a login of alice's at a confidential client, in a
// browser of her own.
func (s *server) tokens(t *testing.T, clientID, scope string) map[string]any {
	t.Helper()
	status, _, answer := s.call("token", codeForm(newBrowser(t, s).login(clientID, "alice", scope)), basic(clientID))
	if status != http.StatusOK {
		t.Fatalf("code not redeemed: %d %v", status, answer)
	}
	return answer
}

// refreshed are the tokens for a refresh token.
func (s *server) refreshed(clientID string, tokens map[string]any, more url.Values) (int, map[string]any) {
	s.t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}
	for name, v := range more {
		form[name] = v
	}
	status, _, answer := s.call("token", form, basic(clientID))
	return status, answer
}

// get reads an endpoint with header fields.
func (s *server) get(path string, header http.Header) *http.Response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.oidc(path), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, v := range header {
		req.Header[name] = v
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// metadata is the discovery document.
func (s *server) metadata() map[string]any {
	s.t.Helper()
	return s.getJSON("/realms/demo/.well-known/openid-configuration")
}

// announces are members that the discovery document must have.
func announces(names ...string) proof {
	return func(t *testing.T, s *server) {
		document := s.metadata()
		for _, name := range names {
			if v := document[name]; v == nil || v == "" {
				t.Errorf("%s is %v", name, v)
			}
		}
	}
}

// tlsRequired: beyond loopback nothing is served in the clear, and TLS is of
// 1.2 at least, with BCP 195's ciphers.
var tlsRequired = all(
	tested("../cmd/tegata/config_test.go", "TestBadConfigsSayWhere"), // testdata/config/plaintext.bad.yml
	tested("../cmd/tegata/serve_test.go", "TestTLSOffersWhatBCP195Recommends"),
)

// bearer is a header with a bearer token.
func bearer(token any) http.Header {
	return http.Header{"Authorization": {"Bearer " + token.(string)}}
}

// about is what introspection says of a token to resource server rs.
func (s *server) about(token any, more url.Values) map[string]any {
	s.t.Helper()
	form := url.Values{"token": {token.(string)}}
	for name, v := range more {
		form[name] = v
	}
	_, answer := s.post("token/introspect", "rs", "rs-secret", form)
	return answer
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// form is one of pairs.
func form(pairs ...string) url.Values {
	values := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values
}
