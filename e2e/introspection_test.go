package e2e

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// TestOpaqueTokens: an issuer that is no Tegata is asked about its tokens (RFC
// 7662), its refusals and its silence become ours. Envoy is told to let through
// what it gets no answer to, so that every refusal here is authz's own.
func TestOpaqueTokens(t *testing.T) {
	const ttl = time.Second
	f := newForeign(t)
	s := ownStack(t, func(c *stack.Config) {
		onlyIssuers(t, c, f.trusted(f.introspected(ttl, "")))
		withEnvoy(t, c, failureMode, "                      failure_mode_allow: true\n")
	})
	s.Issuer.Kill() // Tegata's own is nobody's business here
	get := func(token string) answer { return ask(s, http.MethodGet, "/orders", token) }

	good := f.issue(nil)
	wantOK(t, "an active token", get(good))
	wantRefused(t, "without the scope", ask(s, http.MethodPost, "/orders", good), http.StatusForbidden, "insufficient_scope")
	begun := time.Now()
	for range 20 {
		wantOK(t, "the same token", get(good))
	}
	if most := 2 + int(time.Since(begun)/ttl); f.questions(good) > most {
		t.Errorf("%d questions about a token in %v, want at most %d", f.questions(good), time.Since(begun), most)
	}

	now := time.Now().Unix()
	for name, token := range map[string]string{
		"unknown":          "opaque.unknown",
		"like no token":    "~",
		"inactive":         f.issue(func(a map[string]any) { a["active"] = false }),
		"of another API":   f.issue(func(a map[string]any) { a["aud"] = "other-api" }),
		"for no API":       f.issue(func(a map[string]any) { delete(a, "aud") }),
		"of nobody":        f.issue(func(a map[string]any) { delete(a, "sub") }),
		"of another":       f.issue(func(a map[string]any) { a["iss"] = "https://evil.example" }),
		"expired":          f.issue(func(a map[string]any) { a["exp"] = now - 60 }),
		"not yet valid":    f.issue(func(a map[string]any) { a["nbf"] = now + 600 }),
		"a refresh token":  f.issue(func(a map[string]any) { a["typ"] = "Refresh" }),
		"token_type other": f.issue(func(a map[string]any) { a["token_type"] = "refresh_token" }),
	} {
		wantRefused(t, name, get(token), http.StatusUnauthorized, "invalid_token")
	}

	// Whether revoked there or logged out: the answer changes, and is asked for
	// again when the last one is ttl old.
	wantOK(t, "before its end", get(good))
	f.revoke(good)
	took := eventually(t, 20*time.Second, "a revoked token is refused", func() bool { return get(good).status != http.StatusOK })
	if took > ttl+2*time.Second {
		t.Errorf("a revoked token passed for %v, with ttl %v", took, ttl)
	}
	wantRefused(t, "revoked", get(good), http.StatusUnauthorized, "invalid_token")

	// An issuer that cannot say is not the caller's fault, and no reason to
	// let anybody pass.
	known := f.issue(nil)
	wantOK(t, "known", get(known))
	broken := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusInternalServerError) }
	for name, trouble := range map[string]http.HandlerFunc{
		"broken":      broken,
		"no JSON":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"active": true}`)) },
		"not active":  func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, map[string]any{"sub": "alice"}) },
		"a redirect":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"not allowed": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusForbidden) },
		"silent":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"gone":        func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		f.fail(trouble)
		wantUnavailable(t, name, get(f.issue(nil)))
	}
	f.fail(broken)
	eventually(t, 20*time.Second, "no old answer is used", func() bool { return get(known).status != http.StatusOK })
	wantUnavailable(t, "known, but not now", get(known))
	f.fail(nil)
	wantOK(t, "known, and back", get(known))

	f.server.CloseClientConnections()
	f.server.Close()
	wantUnavailable(t, "nobody listens", get(f.issue(nil)))
}

// TestTegataIsAskedAboutItsTokens: Tegata's own issuer by introspection, with
// answers that are good for minutes. What it pushes ends them at once.
func TestTegataIsAskedAboutItsTokens(t *testing.T) {
	s := ownStack(t, func(c *stack.Config) {
		c.Realm = bytes.Replace(stack.DemoRealm, []byte("clients:\n"), []byte("clients:\n"+
			"  - { clientId: "+stack.Audience+", secret: api-secret-for-loopback, standardFlowEnabled: false }\n"), 1)
		c.Edit = func(config string) string {
			return regexp.MustCompile(`    - issuer: (http\S+)\n`).ReplaceAllString(config, "$0"+
				"      introspection: { url: $1/protocol/openid-connect/token/introspect, client_id: "+stack.Audience+
				", client_secret: api-secret-for-loopback, ttl: 5m }\n")
		}
	})
	token := mustMint(t, s, "orders:read")
	wantOK(t, "a good token", ask(s, http.MethodGet, "/orders", token))
	mustRevoke(t, s, token)
	wantRefused(t, "revoked", ask(s, http.MethodGet, "/orders", token), http.StatusUnauthorized, "invalid_token")

	p := login(t, s)
	wantOK(t, "a person's token", ask(s, http.MethodGet, "/orders", p.tokens.AccessToken))
	p.logout(t)
	wantRefused(t, "logged out", ask(s, http.MethodGet, "/orders", p.tokens.AccessToken), http.StatusUnauthorized, "invalid_token")

	figures := do(http.NewRequest(http.MethodGet, s.AuthzManagement+"/metrics", nil))
	if !regexp.MustCompile(`tegata_introspections_total\{[^}]*result="active"\} 2\n`).Match(figures.body) {
		t.Error("authz did not ask about each of two tokens once")
	}
}

// TestAnIssuersSilenceIsNoAllow: whoever waits for it, by whichever door, and
// for keys as for answers, is refused before Envoy stops waiting; one that was
// told to let failures through would let everybody through.
func TestAnIssuersSilenceIsNoAllow(t *testing.T) {
	open := "                      failure_mode_allow: true\n"
	for name, door := range map[string]func(*testing.T, *stack.Config){
		"grpc": func(*testing.T, *stack.Config) {},
		"http": askingByHTTP,
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeign(t)
			s := ownStack(t, func(c *stack.Config) {
				door(t, c)
				withEnvoy(t, c, failureMode, open)
				onlyIssuers(t, c, f.trusted(f.introspected(time.Second, ", timeout: 3s, opaque_only: true")))
			})
			wantOK(t, "an opaque token", ask(s, http.MethodGet, "/orders", f.issue(nil)))
			wantOK(t, "a JWT", ask(s, http.MethodGet, "/orders", f.sign(t, nil, nil)))
			f.fail(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			for what, token := range map[string]string{
				"an opaque token": f.issue(nil),
				"an unknown key":  f.sign(t, func(h map[string]any) { h["kid"] = "new" }, nil),
			} {
				a := ask(s, http.MethodGet, "/orders", token)
				if a.err != nil || a.status != http.StatusServiceUnavailable && a.status != http.StatusForbidden ||
					a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), `"error":"not_ready"`) {
					t.Errorf("%s: got %v %s, want our own not now", what, a, a.body)
				}
			}
			f.fail(nil)
			f.server.CloseClientConnections() // what still waits would be waited for
		})
	}
}
