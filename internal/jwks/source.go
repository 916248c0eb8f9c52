package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

// maxBody is the largest document that is read, in bytes.
const maxBody = 1 << 20

// source fetches one issuer's key set over HTTP.
type source struct {
	url, issuer string
	http        *http.Client
}

// newSource copies the client, so that redirects can be refused without
// touching the caller's.
func newSource(c Config) source {
	client := *c.HTTP
	client.CheckRedirect = sameOrigin
	return source{c.URL, c.Issuer, &client}
}

// sameOrigin allows a few redirects within one origin: keys come from where
// the configuration says, not from where an answer points.
func sameOrigin(req *http.Request, via []*http.Request) error {
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		return errors.New("redirect to another origin")
	}
	if len(via) > 3 {
		return errors.New("too many redirects")
	}
	return nil
}

// CheckURL allows https, and http to this machine: what came over an open wire
// vouches for nothing, and what goes over one is no secret.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("not a usable URL")
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return errors.New("URL is neither https nor http to a loopback address")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// fetch returns the key set, the same as normalised JSON, and for how long the
// answer said it is fresh (math.MaxInt64 if it did not say).
func (s source) fetch(ctx context.Context) (set *jose.KeySet, text string, age time.Duration, err error) {
	address := s.url
	if address == "" {
		if address, err = s.discover(ctx); err != nil {
			return nil, "", 0, fmt.Errorf("discovering key set: %w", err)
		}
	}
	body, header, err := s.get(ctx, address)
	if err != nil {
		return nil, "", 0, fmt.Errorf("fetching key set: %w", err)
	}
	if set, err = jose.ParseKeySet(body); err != nil {
		return nil, "", 0, err
	}
	normal, err := json.Marshal(set)
	if err != nil {
		return nil, "", 0, fmt.Errorf("comparing key set: %w", err)
	}
	return set, string(normal), maxAge(header), nil
}

// discover finds jwks_uri (OpenID Connect Discovery §4). The issuer in the
// document must be exactly the one that was asked (§4.3).
func (s source) discover(ctx context.Context) (string, error) {
	body, _, err := s.get(ctx, strings.TrimSuffix(s.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := jose.ReadClaims(body, &doc); err != nil {
		return "", err
	}
	if doc.Issuer != s.issuer {
		return "", errors.New("the document is of another issuer")
	}
	if err := CheckURL(doc.JWKSURI); err != nil {
		return "", fmt.Errorf("jwks_uri: %w", err)
	}
	return doc.JWKSURI, nil
}

func (s source) get(ctx context.Context, address string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxBody {
		return nil, nil, errors.New("the answer is too large")
	}
	return body, resp.Header, nil
}

// maxAge reads max-age (RFC 9111 §5.2.2.1). Other directives are not followed:
// no-cache, which Keycloak sends with its keys, would mean a fetch per token.
func maxAge(h http.Header) time.Duration {
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if !strings.EqualFold(name, "max-age") {
				continue
			}
			n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err == nil {
				return time.Duration(n) * time.Second
			}
		}
	}
	return math.MaxInt64
}
