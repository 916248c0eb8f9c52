package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tegata/tegata/internal/stack"
)

// issuer is whose tokens are sent.
type issuer struct {
	url, audience, jwksURL string
	mint                   func(context.Context) (string, error)
}

func tegataIssuer(s *stack.Stack) issuer {
	return issuer{
		url: s.RealmURL, audience: stack.Audience, jwksURL: endpoint(s, "certs"),
		mint: func(ctx context.Context) (string, error) { return clientCredentials(ctx, endpoint(s, "token")) },
	}
}

func endpoint(s *stack.Stack, name string) string {
	return s.RealmURL + "/protocol/openid-connect/" + name
}

// mintAll gets n distinct tokens.
func mintAll(ctx context.Context, i issuer, n int) ([]string, error) {
	tokens := make([]string, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for k := range tokens {
		g.Go(func() (err error) {
			tokens[k], err = i.mint(ctx)
			return err
		})
	}
	return tokens, g.Wait()
}

// issuerRates measures the token and introspection endpoints, under ES256 and,
// after a key rotation, RS256. It comes last: the rotation changes the keys.
func (b *bench) issuerRates(ctx context.Context) (issuerReport, error) {
	r := issuerReport{TokensPerS: map[string]float64{}, TokenCPU: map[string]float64{}}
	forms := filepath.Join(b.dir, "token-forms")
	if err := writeLines(forms, []string{tokenForm().Encode()}); err != nil {
		return r, err
	}
	var err error
	if r.TokensPerS["ES256"], r.TokenCPU["ES256"], err = b.issuerRate(ctx, "token", forms); err != nil {
		return r, err
	}
	lines := make([]string, min(len(b.tokens), 1000))
	for i := range lines {
		lines[i] = url.Values{"token": {b.tokens[i]}}.Encode()
	}
	introspections := filepath.Join(b.dir, "introspection-forms")
	if err := writeLines(introspections, lines); err != nil {
		return r, err
	}
	if r.IntrospectionsPerS, r.IntrospectionCPU, err = b.issuerRate(ctx, "token/introspect", introspections); err != nil {
		return r, err
	}
	if err := b.rotate(ctx, "RS256"); err != nil {
		return r, err
	}
	r.TokensPerS["RS256"], r.TokenCPU["RS256"], err = b.issuerRate(ctx, "token", forms)
	return r, err
}

// issuerRate is requests per second and CPU µs each.
func (b *bench) issuerRate(ctx context.Context, name, lines string) (perSecond, cpu float64, err error) {
	basic := base64.StdEncoding.EncodeToString([]byte(stack.ServiceID + ":" + stack.ServiceSecret))
	m, err := startMeter(b.stack.Issuer.PID())
	if err != nil {
		return 0, 0, err
	}
	u, err := url.Parse(endpoint(b.stack, name))
	if err != nil {
		return 0, 0, err
	}
	res, err := b.wrk.run(ctx, load{
		url: u.Scheme + "://" + u.Host, method: "POST", path: u.Path, kind: "form", lines: lines,
		header: "Authorization: Basic " + basic, took: b.options.duration,
	})
	if err != nil {
		return 0, 0, err
	}
	used, err := m.perCall(res.Requests)
	if err != nil {
		return 0, 0, err
	}
	return res.Requests / (res.DurationUS / 1e6), used[0], nil
}

// rotate makes a key of another algorithm and waits until the issuer signs with it.
func (b *bench) rotate(ctx context.Context, alg string) error {
	out, err := exec.CommandContext(ctx, b.options.tegata, "keys", "rotate",
		"--config", filepath.Join(b.stack.Dir, "tegata.yaml"), "--realm", stack.Realm, "--algorithm", alg).CombinedOutput()
	if err != nil {
		return fmt.Errorf("rotating keys: %w\n%s", err, out)
	}
	header := `"alg":"` + alg + `"`
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		token, err := b.issuer.mint(ctx)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(token, ".")
		if h, err := base64.RawURLEncoding.DecodeString(first); err == nil && strings.Contains(string(h), header) {
			return nil
		}
	}
	return fmt.Errorf("the issuer does not sign with %s after the rotation", alg)
}
