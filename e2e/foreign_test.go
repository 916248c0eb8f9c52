package e2e

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// foreign is an issuer that is no Tegata, as much of one as authz asks for: a
// discovery document, keys, and answers about tokens (RFC 7662). It exists
// before the stack that trusts it.
type foreign struct {
	*forge
	server *httptest.Server

	mu      sync.Mutex // guards what follows
	answers map[string]map[string]any
	asked   map[string]int
	trouble http.HandlerFunc // in place of answers and keys; nil: none
}

// The client as which authz asks about tokens. Both have characters that
// stand escaped in a Basic header (RFC 6749 §2.3.1).
const (
	asker       = "orders api:1"
	askerSecret = "a/secret+for loopback%"
)

func newForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{forge: newKeys(t), answers: map[string]map[string]any{}, asked: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /realms/main/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"issuer": f.url, "jwks_uri": f.server.URL + "/certs"})
	})
	mux.HandleFunc("GET /certs", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		trouble := f.trouble
		f.mu.Unlock()
		if trouble != nil {
			trouble(w, r)
			return
		}
		writeJSON(w, json.RawMessage(f.jwks))
	})
	mux.HandleFunc("POST /introspect", f.introspect)
	f.server = httptest.NewServer(mux)
	t.Cleanup(f.server.Close)
	f.url = f.server.URL + "/realms/main"
	return f
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	_ = json.NewEncoder(w).Encode(v) // the caller may have gone
}

// introspect answers about one token (RFC 7662 §2.2).
func (f *foreign) introspect(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	token := r.PostFormValue("token")
	f.mu.Lock()
	f.asked[token]++
	answer, known := f.answers[token]
	trouble := f.trouble
	f.mu.Unlock()
	switch {
	case trouble != nil:
		trouble(w, r)
	case id != asker || secret != askerSecret:
		http.Error(w, "who are you?", http.StatusUnauthorized)
	case !known:
		writeJSON(w, map[string]any{"active": false})
	default:
		writeJSON(w, answer)
	}
}

// issue makes an opaque token, of which the issuer says what the changes make
// of a good answer.
func (f *foreign) issue(change func(map[string]any)) string {
	token := "opaque." + rand.Text()
	answer := f.claims()
	answer["active"], answer["token_type"] = true, "Bearer"
	if change != nil {
		change(answer)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[token] = answer
	return token
}

// revoke forgets a token.
func (f *foreign) revoke(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.answers, token)
}

func (f *foreign) questions(token string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[token]
}

// fail makes it answer so for keys and to every question about a token; nil
// ends that.
func (f *foreign) fail(trouble http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble = trouble
}

// trusted is its entry in authz.issuers, with more lines of that entry.
func (f *foreign) trusted(more ...string) string {
	lines := append([]string{
		"    - issuer: " + f.url,
		"      audience: [" + stack.Audience + "]",
		"      revocations: none",
	}, more...)
	return strings.Join(lines, "\n") + "\n"
}

// introspected is the section by which authz asks about its tokens.
func (f *foreign) introspected(ttl time.Duration, more string) string {
	return fmt.Sprintf("      introspection: { url: %q, client_id: %q, client_secret: %q, ttl: %s%s }",
		f.server.URL+"/introspect", asker, askerSecret, ttl, more)
}

// onlyIssuers replaces the issuers that authz trusts, and follows no stream of
// revocations.
func onlyIssuers(t *testing.T, c *stack.Config, entries ...string) {
	t.Helper()
	edit(t, c, regexp.MustCompile(`(?s)  issuers:\n.*  on_stale: deny\n`), "  issuers:\n"+strings.Join(entries, ""))
}

// moreIssuers adds to them.
func moreIssuers(t *testing.T, c *stack.Config, entries ...string) {
	t.Helper()
	edit(t, c, regexp.MustCompile(`  issuers:\n`), "  issuers:\n"+strings.Join(entries, ""))
}

func edit(t *testing.T, c *stack.Config, old *regexp.Regexp, replacement string) {
	t.Helper()
	before := c.Edit
	c.Edit = func(config string) string {
		if before != nil {
			config = before(config)
		}
		if !old.MatchString(config) {
			t.Errorf("the stack's configuration has no %s any more", old)
		}
		return old.ReplaceAllLiteralString(config, replacement)
	}
}

// wantUnavailable wants our own "not now", whatever Envoy does of its own.
func wantUnavailable(t *testing.T, what string, a answer) {
	t.Helper()
	if a.err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" ||
		!strings.Contains(string(a.body), `"error":"not_ready"`) {
		t.Errorf("%s: got %v %q %s, want our 503", what, a, a.header, a.body)
	}
}
