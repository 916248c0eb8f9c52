package check

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/authz/verify"
)

// TestWhatATokenIsBoundToIsShown hands everything to the verifier, and turns
// what it says into the challenges of RFC 9449 and RFC 9470.
func TestWhatATokenIsBoundToIsShown(t *testing.T) {
	t.Parallel()
	b := newBench(t, `
default allow := {"allowed": false, "step_up": {"acr_values": ["gold"], "max_age": 300}}
allow if "pass" in input.token.scopes`, func(c *Config) { c.ResourceMetadata = "https://api.test/meta" })
	b.known.nonce = "n-1"
	b.known.tokens = map[string]*verify.Token{"good": token("good", "pass"), "weak": token("weak")}
	b.known.errs = map[string]error{"proof": verify.ErrProof, "nonce": verify.ErrNonce, "bound": verify.ErrBinding, "off": verify.ErrUnavailable}
	const meta = `resource_metadata="https://api.test/meta"`
	for _, tt := range []struct {
		authorization string
		proofs        []string
		want          Reason
		status        int
		challenges    []string
		nonce         string
	}{
		{authorization: "DPoP good", proofs: []string{"p.r.f"}, want: Allowed},
		{authorization: "Bearer good", want: Allowed},
		{authorization: "DPoP proof", proofs: []string{"p.r.f"}, want: InvalidProof, status: 401, nonce: "n-1", challenges: []string{
			`DPoP realm="api", error="invalid_dpop_proof", error_description="the proof of possession does not hold", ` + meta + `, algs="ES256"`,
		}},
		{authorization: "DPoP nonce", proofs: []string{"p.r.f"}, want: UseNonce, status: 401, nonce: "n-1", challenges: []string{
			`DPoP realm="api", error="use_dpop_nonce", error_description="the proof of possession needs a nonce", ` + meta + `, algs="ES256"`,
		}},
		{authorization: "Bearer bound", want: InvalidToken, status: 401, challenges: []string{
			`Bearer realm="api", error="invalid_token", error_description="the token is not valid here, or has expired", ` + meta,
			`DPoP realm="api", error="invalid_token", error_description="the token is not valid here, or has expired", ` + meta + `, algs="ES256"`,
		}},
		{authorization: "DPoP off", proofs: []string{"p.r.f"}, want: NotReady, status: 503, nonce: "n-1"},
		{authorization: "Bearer weak", want: StepUp, status: 401, challenges: []string{
			`Bearer realm="api", error="insufficient_user_authentication", error_description="a stronger or fresher login is required", acr_values="gold", max_age="300", ` + meta,
		}},
		{authorization: "", want: NoCredential, status: 401, challenges: []string{`Bearer realm="api", ` + meta}},
	} {
		r := ask()
		r.Scheme, r.Host, r.Proofs = "https", "api.test", tt.proofs
		if tt.authorization != "" {
			r.Authorization = []string{tt.authorization}
		}
		d := b.Check(t.Context(), r)
		if d.Reason != tt.want || d.Status != tt.status {
			t.Errorf("%q: %s %d, want %s %d", tt.authorization, d.Reason, d.Status, tt.want, tt.status)
		}
		if diff := cmp.Diff(tt.challenges, d.Headers.Values("WWW-Authenticate")); diff != "" {
			t.Errorf("%q: challenges (-want +got):\n%s", tt.authorization, diff)
		}
		if got := d.Headers.Get("DPoP-Nonce"); got != tt.nonce {
			t.Errorf("%q: nonce %q, want %q", tt.authorization, got, tt.nonce)
		}
	}
	want := verify.Presented{
		Token: "good", Scheme: "DPoP", Proof: "p.r.f",
		Target: verify.Target{Method: http.MethodGet, Scheme: "https", Host: "api.test", Path: "/o"},
	}
	got := b.known.presented[0]
	got.Certificate = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("presented (-want +got):\n%s", diff)
	}
}

// TestCertificates: a header counts only if it is trusted, and then first; what cannot be read is no certificate.
func TestCertificates(t *testing.T) {
	t.Parallel()
	const xfcc = "Hash=" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, tt := range map[string]struct {
		trust       bool
		certificate string
		forwarded   []string
		found       bool
	}{
		"none":                     {},
		"a header, not trusted":    {forwarded: []string{xfcc}},
		"a header, trusted":        {trust: true, forwarded: []string{xfcc}, found: true},
		"a broken one":             {certificate: "no%20PEM"},
		"a broken one, a header":   {trust: true, certificate: "no%20PEM", forwarded: []string{xfcc}, found: true},
		"a broken header, trusted": {trust: true, forwarded: []string{"Hash=x"}},
	} {
		b := newBench(t, "allow := true", func(c *Config) { c.TrustXFCC = tt.trust })
		b.known.tokens = map[string]*verify.Token{"a": token("a")}
		r := ask()
		r.Authorization, r.Forwarded = []string{"Bearer a"}, tt.forwarded
		r.Certificate = func() string { return tt.certificate }
		b.Check(t.Context(), r)
		if got := b.known.presented[0].Certificate(); (len(got) == 32) != tt.found || !tt.found && got != nil {
			t.Errorf("%s: certificate %x", name, got)
		}
	}
}

// TestANonceIsNotRemembered: a refusal that names one is made anew.
func TestANonceIsNotRemembered(t *testing.T) {
	t.Parallel()
	b := newBench(t, "allow := false", nil)
	b.known.tokens = map[string]*verify.Token{"a": token("a")}
	r := ask()
	r.Authorization, r.Proofs = []string{"DPoP a"}, []string{"p.r.f"}
	r.Key = func(dst []byte, _ reads.Path) ([]byte, bool) { return dst, true }
	for _, nonce := range []string{"n-1", "n-2", ""} {
		b.known.nonce = nonce
		d := b.Check(t.Context(), r)
		if d.Headers.Get("DPoP-Nonce") != nonce || (d.Made == nil) != (nonce != "") {
			t.Errorf("nonce %q: %v, kept: %v", nonce, d.Headers, d.Made != nil)
		}
	}
}
