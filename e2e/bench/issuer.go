package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tegata/tegata/internal/stack"
)

// issuer is whose tokens are sent.
type issuer struct {
	url, audience, jwksURL string
	tokenURL               string // for authz itself; of the local issuer only
	mint                   func(context.Context) (string, error)
}

func tegataIssuer(s *stack.Stack) issuer {
	return issuer{
		url: s.RealmURL, audience: stack.Audience, jwksURL: endpoint(s.RealmURL, "certs"),
		mint: func(ctx context.Context) (string, error) {
			return clientCredentials(ctx, endpoint(s.RealmURL, "token"))
		},
	}
}

// endpoint is the URL of an endpoint of a realm, by Keycloak's names.
func endpoint(realmURL, name string) string { return realmURL + "/protocol/openid-connect/" + name }

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

// rsaRealm is a second realm, whose tokens are signed with RS256.
const rsaRealm = "demo-rs256"

// issuerLoad is one way to load the issuer, and what came of it in each round.
type issuerLoad struct {
	name, url, lines string // url is an endpoint; lines a file of forms
	perSecond, cpu   []float64
}

// issuerRates measures the token endpoint with both algorithms, and introspection.
func (b *bench) issuerRates(ctx context.Context) (issuerReport, error) {
	loads, err := b.issuerLoads(ctx)
	if err != nil {
		return issuerReport{}, err
	}
	for range b.options.rounds {
		for _, l := range loads {
			if err := b.loadIssuer(ctx, l); err != nil {
				return issuerReport{}, fmt.Errorf("loading the issuer, %s: %w", l.name, err)
			}
		}
	}
	r := issuerReport{TokensPerS: map[string]float64{}, TokenCPU: map[string]float64{}}
	for _, l := range loads {
		if l.name == introspection {
			r.IntrospectionsPerS, r.IntrospectionCPU = round(median(l.perSecond)), round(median(l.cpu))
			continue
		}
		r.TokensPerS[l.name], r.TokenCPU[l.name] = round(median(l.perSecond)), round(median(l.cpu))
	}
	return r, nil
}

const introspection = "introspection"

func (b *bench) issuerLoads(ctx context.Context) ([]*issuerLoad, error) {
	mint, ask := filepath.Join(b.dir, "token-forms"), filepath.Join(b.dir, "introspection-forms")
	if err := writeLines(mint, []string{tokenForm().Encode()}); err != nil {
		return nil, err
	}
	lines := make([]string, min(len(b.tokens), 1000))
	for i := range lines {
		lines[i] = url.Values{"token": {b.tokens[i]}}.Encode()
	}
	if err := writeLines(ask, lines); err != nil {
		return nil, err
	}
	rsaURL := b.stack.IssuerURL + "/realms/" + rsaRealm
	for realmURL, want := range map[string]string{b.stack.RealmURL: "ES256", rsaURL: "RS256"} {
		if err := signsWith(ctx, endpoint(realmURL, "token"), want); err != nil {
			return nil, err
		}
	}
	return []*issuerLoad{
		{name: "ES256", url: endpoint(b.stack.RealmURL, "token"), lines: mint},
		{name: "RS256", url: endpoint(rsaURL, "token"), lines: mint},
		{name: introspection, url: endpoint(b.stack.RealmURL, "token/introspect"), lines: ask},
	}, nil
}

// loadIssuer is one round of a load.
func (b *bench) loadIssuer(ctx context.Context, l *issuerLoad) error {
	basic := base64.StdEncoding.EncodeToString([]byte(stack.ServiceID + ":" + stack.ServiceSecret))
	u, err := url.Parse(l.url)
	if err != nil {
		return err
	}
	m, err := startMeter(b.stack.Issuer.PID())
	if err != nil {
		return err
	}
	res, err := b.wrk.run(ctx, load{
		url: u.Scheme + "://" + u.Host, method: http.MethodPost, path: u.Path, kind: "form", lines: l.lines,
		header: "Authorization: Basic " + basic, took: b.options.short(),
	})
	if err != nil {
		return err
	}
	used, err := m.perCall(res.Requests)
	if err != nil {
		return err
	}
	l.perSecond, l.cpu = append(l.perSecond, res.perSecond()), append(l.cpu, used[0])
	return nil
}

// signsWith is an error unless the token endpoint signs with alg.
func signsWith(ctx context.Context, endpoint, alg string) error {
	token, err := clientCredentials(ctx, endpoint)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(token, ".")
	var header struct {
		Alg string `json:"alg"`
	}
	b, err := base64.RawURLEncoding.DecodeString(first)
	if err == nil {
		err = json.Unmarshal(b, &header)
	}
	if err != nil {
		return fmt.Errorf("reading the header of a token: %w", err)
	}
	if header.Alg != alg {
		return fmt.Errorf("%s signs with %s, want %s", endpoint, header.Alg, alg)
	}
	return nil
}
