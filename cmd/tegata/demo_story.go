package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// story walks over one stack with one client of each kind.
type story struct {
	s     *stack.Stack
	api   gateway
	oauth oauthClient
	now   time.Time // when the current step began

	token string // of the service, orders:read
}

// chapter is one step: what must happen, and the act that says what did.
type chapter struct {
	name string
	want string
	act  func(*story, context.Context) (got string, ok bool)
}

// chapters is the story, in order. Each act does what an outsider could do:
// plain HTTP to the gateway and the issuer.
func chapters() []chapter {
	return []chapter{
		{"GET /orders without a token", "401 and a Bearer challenge", (*story).noToken},
		{"client credentials token, orders:read: GET /orders", "200", (*story).read},
		{"the same token: POST /orders", "403 insufficient_scope naming orders:write", (*story).write},
		{"revoke it (RFC 7009): GET /orders", "401 from the first request after the answer", (*story).revoke},
		{"alice logs in (code + PKCE): GET /orders", "200, and 401 after her logout", (*story).logout},
		{"issuer killed (SIGKILL): GET /orders", "200 until the staleness bound, then 503", (*story).orphaned},
		{"issuer started again: GET /orders", "200 again, by itself", (*story).recovered},
	}
}

// tell walks the story and reports it.
func tell(ctx context.Context, s *stack.Stack, say *narrator) report {
	t := &story{s: s, api: gateway{s.GatewayURL}, oauth: oauthClient{realm: s.RealmURL}}
	r := report{OK: true}
	for _, c := range chapters() {
		t.now = time.Now()
		got, ok := c.act(t, ctx)
		if ctx.Err() != nil {
			r.OK = false
			return r
		}
		st := step{Name: c.name, Want: c.want, Got: got, OK: ok, MS: ms(time.Since(t.now))}
		r.Steps = append(r.Steps, st)
		r.OK = r.OK && ok
		say.step(st)
	}
	return r
}

// ms is d in milliseconds, to the hundredth.
func ms(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

func (t *story) noToken(ctx context.Context) (string, bool) {
	a := t.api.do(ctx, http.MethodGet, "/orders", "")
	return a.String(), a.status == http.StatusUnauthorized && isBearer(a.challenge) && !strings.Contains(a.challenge, "error=")
}

func (t *story) read(ctx context.Context) (string, bool) {
	var err error
	if t.token, err = t.oauth.clientCredentials(ctx, "orders:read"); err != nil {
		return err.Error(), false
	}
	a := t.api.do(ctx, http.MethodGet, "/orders", t.token)
	return a.String(), a.status == http.StatusOK
}

func (t *story) write(ctx context.Context) (string, bool) {
	a := t.api.do(ctx, http.MethodPost, "/orders", t.token)
	return a.String(), a.status == http.StatusForbidden && isBearer(a.challenge) &&
		strings.Contains(a.challenge, `error="insufficient_scope"`) && strings.Contains(a.challenge, `scope="orders:write"`)
}

// revoke measures from the revocation's answer to the first refusal. The very
// first request after the answer must be refused.
func (t *story) revoke(ctx context.Context) (string, bool) {
	if err := t.oauth.revoke(ctx, t.token); err != nil {
		return err.Error(), false
	}
	return t.refused(ctx, t.token)
}

func (t *story) logout(ctx context.Context) (string, bool) {
	login, err := t.oauth.login(ctx, "openid orders:read")
	if err != nil {
		return err.Error(), false
	}
	if a := t.api.do(ctx, http.MethodGet, "/orders", login.accessToken); a.status != http.StatusOK {
		return "after the login: " + a.String(), false
	}
	if err := t.oauth.logout(ctx, login); err != nil {
		return err.Error(), false
	}
	got, ok := t.refused(ctx, login.accessToken)
	return "200; logout; " + got, ok
}

// refused asks until the token is refused and says how long that took. It is
// right only if no request got through after the answer.
func (t *story) refused(ctx context.Context, token string) (string, bool) {
	// The clock of the step is that of the refusal: it is what the step is about.
	t.now = time.Now()
	allowed := 0
	var last answer
	took, ok := within(ctx, demoLease+2*time.Second, func(ctx context.Context) bool {
		if last = t.api.do(ctx, http.MethodGet, "/orders", token); last.status == http.StatusOK {
			allowed++
		}
		return last.status == http.StatusUnauthorized
	})
	switch {
	case !ok:
		return "still " + last.String(), false
	case allowed > 0:
		return fmt.Sprintf("%s, but only after %d requests", last, allowed), false
	}
	return fmt.Sprintf("%s, %.1f ms after the answer", last, ms(took)), strings.Contains(last.challenge, `error="invalid_token"`)
}

// orphaned kills the issuer and watches a good token: it must work for a
// while, and must stop working no later than the lease.
func (t *story) orphaned(ctx context.Context) (string, bool) {
	var err error
	if t.token, err = t.oauth.clientCredentials(ctx, "orders:read"); err != nil {
		return err.Error(), false
	}
	if a := t.api.do(ctx, http.MethodGet, "/orders", t.token); a.status != http.StatusOK {
		return "before the kill: " + a.String(), false
	}
	t.s.Issuer.Kill()
	t.now = time.Now()
	served := 0
	var last answer
	took, ok := within(ctx, demoLease+2*time.Second, func(ctx context.Context) bool {
		last = t.api.do(ctx, http.MethodGet, "/orders", t.token)
		if last.status == http.StatusOK {
			served++
		}
		return last.status != http.StatusOK
	})
	if !ok {
		return fmt.Sprintf("still served %.1f s after the kill", took.Seconds()), false
	}
	return fmt.Sprintf("200 for %.1f s (lease %v), then %s", took.Seconds(), demoLease, last),
		served > 0 && took <= demoLease+200*time.Millisecond && last.status == http.StatusServiceUnavailable
}

func (t *story) recovered(ctx context.Context) (string, bool) {
	if err := t.s.Issuer.Start(ctx); err != nil {
		return err.Error(), false
	}
	var last answer
	took, ok := within(ctx, 15*time.Second, func(ctx context.Context) bool {
		last = t.api.do(ctx, http.MethodGet, "/orders", t.token)
		return last.status == http.StatusOK
	})
	return fmt.Sprintf("%s, %.1f s after the issuer was ready", last, took.Seconds()), ok
}

func isBearer(challenge string) bool { return strings.HasPrefix(challenge, "Bearer ") }
