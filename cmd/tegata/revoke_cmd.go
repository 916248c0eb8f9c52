package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/tegata/tegata/revocation"
)

// revokeCmd revokes one token (RFC 7009) and says how far that has reached.
type revokeCmd struct {
	Issuer           string `required:"" placeholder:"URL" help:"The token's issuer: its iss claim."`
	ClientID         string `required:"" placeholder:"ID" help:"The client that the token was given to."`
	ClientSecretFile string `placeholder:"FILE" help:"File with the client's secret; none for a public client."`
	TokenFile        string `placeholder:"FILE" help:"File with the token (default: standard input, so that it is in no list of processes)."`
	Wait             string `default:"1s" placeholder:"WAIT" help:"none; a time such as 1s (default); or all: until nobody trusts the token, which is a lease at most."`
	CAFile           string `placeholder:"FILE" help:"PEM file with the authorities that may vouch for the issuer (default: the system's)."`
	JSON             bool   `help:"Print JSON."`
}

// Limits on what the issuer answers and on what is sent.
const (
	maxOutcome = 32 << 20 // names of all watchers there can be
	maxToken   = 64 << 10
	longestAll = 10 * time.Minute // no lease is longer
)

// Run revokes. It fails if somebody may still trust the token, unless that was
// not waited for.
func (c *revokeCmd) Run(e *env) error {
	wait, err := parseWait(c.Wait)
	if err != nil {
		return err
	}
	if err := checkIssuerURL(c.Issuer); err != nil {
		return err
	}
	form, err := c.form(e)
	if err != nil {
		return err
	}
	client, err := c.client(wait)
	if err != nil {
		return err
	}
	endpoint, err := revocationEndpoint(e.ctx, client, c.Issuer)
	if err != nil {
		return err
	}
	outcome, told, err := revokeAt(e.ctx, client, endpoint, form, wait)
	if err != nil {
		return err
	}
	if err := c.print(e.stdout, outcome, told); err != nil {
		return err
	}
	if wait > 0 && len(outcome.Pending) > 0 {
		return withHint(errSaid, "each of them stops trusting within its lease; --wait=all waits for that")
	}
	return nil
}

// parseWait reads none, all or a duration, which is sent in whole seconds.
func parseWait(text string) (time.Duration, error) {
	switch text {
	case "none":
		return 0, nil
	case "all":
		return longestAll, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > longestAll {
		return 0, usagef("--wait: %q is none of none, all and a time up to %s such as 2s", text, longestAll)
	}
	return (d + time.Second - 1).Truncate(time.Second), nil
}

// checkIssuerURL refuses to send secrets in the clear.
func checkIssuerURL(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return usagef("--issuer: %q is not an http or https URL", issuer)
	case u.Scheme == "http" && !isLoopback(net.JoinHostPort(u.Hostname(), "80")):
		return usagef("--issuer: %s would be sent the token in the clear: https beyond loopback", u.Host)
	}
	return nil
}

// form is the request (RFC 7009 §2.1); the client's secret is in it, since a
// form takes any secret as it is.
func (c *revokeCmd) form(e *env) (url.Values, error) {
	form := url.Values{"client_id": {c.ClientID}}
	if c.ClientSecretFile != "" {
		secret, err := secretOf("--client-secret-file", "", c.ClientSecretFile)
		if err != nil {
			return nil, err
		}
		form.Set("client_secret", secret)
	}
	var in io.Reader = e.stdin
	if c.TokenFile != "" {
		f, err := os.Open(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxToken))
	if err != nil {
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return nil, withHint(usagef("no token"), "tegata revoke … < token.txt, or --token-file")
	}
	form.Set("token", token)
	return form, nil
}

func (c *revokeCmd) client(wait time.Duration) (*http.Client, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		var err error
		if t.RootCAs, err = readCAs("--ca-file", c.CAFile); err != nil {
			return nil, err
		}
	}
	return &http.Client{
		Timeout:   wait + 30*time.Second,
		Transport: &http.Transport{TLSClientConfig: t, Proxy: http.ProxyFromEnvironment},
		// Secrets go where they were meant to go, or nowhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// revocationEndpoint asks the issuer where it is (RFC 8414).
func revocationEndpoint(ctx context.Context, client *http.Client, issuer string) (string, error) {
	var meta struct {
		Issuer   string `json:"issuer"`
		Endpoint string `json:"revocation_endpoint"`
	}
	status, _, body, err := fetch(ctx, client, http.MethodGet, issuer+"/.well-known/openid-configuration", nil, "")
	switch {
	case err != nil:
		return "", fmt.Errorf("asking the issuer for its revocation endpoint: %w", err)
	case status != http.StatusOK:
		return "", withHint(fmt.Errorf("the issuer has no metadata: %s", http.StatusText(status)), "--issuer is the token's iss claim, for example https://id.example.com/realms/main")
	case json.Unmarshal(body, &meta) != nil || meta.Issuer != issuer || meta.Endpoint == "":
		return "", errors.New("the issuer's metadata is not its own, or names no revocation endpoint")
	}
	return meta.Endpoint, checkIssuerURL(meta.Endpoint)
}

// revokeAt posts the request; told says that the answer tells how far it
// reached, which is Tegata's alone.
func revokeAt(ctx context.Context, client *http.Client, endpoint string, form url.Values, wait time.Duration) (o revocation.Outcome, told bool, err error) {
	prefer := fmt.Sprintf("wait=%d, return=representation", wait/time.Second)
	status, kind, body, err := fetch(ctx, client, http.MethodPost, endpoint, strings.NewReader(form.Encode()), prefer)
	if err != nil {
		return o, false, fmt.Errorf("revoking: %w", err)
	}
	if status != http.StatusOK {
		var refusal struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		_ = json.Unmarshal(body, &refusal) // what is no error object has no code
		return o, false, fmt.Errorf("revoking: %d %s: %s", status, refusal.Error, refusal.Description)
	}
	if kind != "application/json" || json.Unmarshal(body, &o) != nil {
		return o, false, nil
	}
	return o, true, nil
}

func fetch(ctx context.Context, client *http.Client, method, target string, body io.Reader, prefer string) (status int, kind string, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return 0, "", nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Prefer", prefer)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxOutcome))
	kind, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return resp.StatusCode, kind, answer, err
}

// print shows the outcome.
func (c *revokeCmd) print(w io.Writer, o revocation.Outcome, told bool) error {
	if c.JSON {
		if !told {
			_, err := fmt.Fprintln(w, "{}")
			return err
		}
		return json.NewEncoder(w).Encode(o)
	}
	var b strings.Builder
	switch {
	case !told:
		b.WriteString("revoked; this issuer does not say who has applied it\n")
	case o.Revision == 0:
		b.WriteString("nothing to revoke: the token is unknown, foreign, expired or dead already\n")
	default:
		fmt.Fprintf(&b, "revoked at revision %d: applied by %d, expired at %d, pending at %d, unbounded at %d\n",
			o.Revision, o.Applied, o.Expired, len(o.Pending), len(o.Unbounded))
		for _, name := range o.Pending {
			fmt.Fprintf(&b, "  pending    %s\n", name)
		}
		for _, name := range o.Unbounded {
			fmt.Fprintf(&b, "  unbounded  %s (accepts tokens while it is stale, by its configuration)\n", name)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
