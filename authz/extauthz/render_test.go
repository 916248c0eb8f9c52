package extauthz

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

// decided is a decision as it comes from the checker, remembered in made.
func decided(made *check.Made) check.Decision {
	return check.Decision{
		Allowed: true, Reason: check.Allowed, Route: "/orders", PolicyRevision: "abc", RevocationRevision: 7, ID: "d1", Made: made,
		Headers: http.Header{"X-Tegata-Subject": {"sub"}, "X-Tegata-Client": {"cl"}},
		Token: &verify.Token{
			Scopes:     []string{"orders:read", "orders:write"},
			Revocation: revocation.Token{Issuer: "https://id.example/realms/demo", Subject: "sub", Client: "cl"},
		},
	}
}

// TestWhatIsKeptIsOnlyWhatStays: a remembered decision is answered as if it had
// been made anew.
func TestWhatIsKeptIsOnlyWhatStays(t *testing.T) {
	t.Parallel()
	made := new(check.Made)
	current := decided(made)
	s := server(t, func(check.Request) check.Decision { return current })
	fresh := server(t, func(check.Request) check.Decision {
		d := current
		d.Made = nil
		return d
	})
	for i, change := range []func(*check.Decision){
		func(*check.Decision) {},
		func(d *check.Decision) { d.ID = "another" },
		func(d *check.Decision) { d.RevocationRevision = 1 << 40 },
		func(d *check.Decision) { d.Route = "/other" },
		func(d *check.Decision) { d.Route = "" },
		func(d *check.Decision) { *d = decided(made) },
	} {
		change(&current)
		got, want := s.ask(t, marshal(t, nil)), fresh.ask(t, marshal(t, nil))
		if d := cmp.Diff(want.GetDynamicMetadata().AsMap(), got.GetDynamicMetadata().AsMap()); d != "" {
			t.Errorf("change %d: metadata (-fresh +kept):\n%s", i, d)
		}
		if w, g := fmt.Sprint(want.GetOkResponse()), fmt.Sprint(got.GetOkResponse()); w != g {
			t.Errorf("change %d: %s, want %s", i, g, w)
		}
	}
	if made.Load() == nil {
		t.Error("nothing was kept")
	}
}

// TestWhatHasNoEncodingIsRefused: a policy can make bytes that are no UTF-8.
func TestWhatHasNoEncodingIsRefused(t *testing.T) {
	t.Parallel()
	s := server(t, func(check.Request) check.Decision {
		d := decided(nil)
		d.Headers = http.Header{"X-Bad": {"\xff"}}
		return d
	})
	if resp := s.ask(t, marshal(t, nil)); resp.GetDeniedResponse().GetStatus().GetCode() != http.StatusForbidden {
		t.Errorf("answered %v", resp)
	}
	s = server(t, func(check.Request) check.Decision {
		d := decided(nil)
		d.Result = policy.Result{DynamicMetadata: map[string]any{"decision_id": "forged", "k": "\xff"}}
		return d
	})
	resp := s.ask(t, marshal(t, nil))
	if resp.GetOkResponse() == nil || resp.GetDynamicMetadata().AsMap()["decision_id"] != "d1" {
		t.Errorf("answered %v", resp)
	}
}

// BenchmarkReply: encoding a decision that is remembered, and one that is not.
func BenchmarkReply(b *testing.B) {
	for name, made := range map[string]*check.Made{"remembered": new(check.Made), "fresh": nil} {
		b.Run(name, func(b *testing.B) {
			d := decided(made)
			b.ReportAllocs()
			for b.Loop() {
				render(&d, form{}).reply(&d)
			}
		})
	}
}
