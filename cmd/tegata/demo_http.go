package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"

	"github.com/tegata/tegata/internal/stack"
)

// maxAnswer bounds what the demo reads of an answer, in bytes.
const maxAnswer = 1 << 20

// gateway is the API as the world sees it.
type gateway struct{ url string }

// answer is what the gateway said.
type answer struct {
	status    int
	challenge string // WWW-Authenticate
	err       error
}

// String is the answer in a few words.
func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	s := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if a.challenge != "" {
		s += ", " + a.challenge
	}
	return s
}

func (g gateway) do(ctx context.Context, method, path, token string) answer {
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, nil)
	if err != nil {
		return answer{err: err}
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // so that the connection is used again
	return answer{status: resp.StatusCode, challenge: resp.Header.Get("WWW-Authenticate")}
}

// oauthClient speaks to the issuer as the demo realm's clients do.
type oauthClient struct{ realm string }

func (c oauthClient) endpoint(name string) string {
	return c.realm + "/protocol/openid-connect/" + name
}

// tokens is a token response (RFC 6749 §5).
type tokens struct {
	AccessToken string `json:"access_token"`
	IDToken     string `json:"id_token"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// clientCredentials gets a token for the service itself (RFC 6749 §4.4).
func (c oauthClient) clientCredentials(ctx context.Context, scope string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}
	t, err := c.token(ctx, form, true)
	return t.AccessToken, err
}

func (c oauthClient) token(ctx context.Context, form url.Values, confidential bool) (tokens, error) {
	var t tokens
	status, body, err := c.post(ctx, c.endpoint("token"), form, confidential)
	if err != nil {
		return t, fmt.Errorf("asking for a token: %w", err)
	}
	if err := json.Unmarshal(body, &t); err != nil {
		return t, fmt.Errorf("asking for a token: %d and no JSON: %w", status, err)
	}
	if status != http.StatusOK || t.AccessToken == "" {
		return t, fmt.Errorf("asking for a token: %d %s (%s)", status, t.Error, t.Description)
	}
	return t, nil
}

// revoke takes a token back (RFC 7009 §2).
func (c oauthClient) revoke(ctx context.Context, token string) error {
	status, body, err := c.post(ctx, c.endpoint("revoke"), url.Values{"token": {token}}, true)
	if err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("revoking: %d %s", status, body)
	}
	return nil
}

func (c oauthClient) post(ctx context.Context, target string, form url.Values, confidential bool) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if confidential {
		req.SetBasicAuth(stack.ServiceID, stack.ServiceSecret)
	}
	return send(http.DefaultClient, req)
}

func send(client *http.Client, req *http.Request) (int, []byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}

// browserLogin is a person who has logged in with a browser.
type browserLogin struct {
	browser     *http.Client // holds the session cookie
	accessToken string
	idToken     string
}

// login drives the login page as a browser would: authorization request, form,
// password, code, and the code's exchange with PKCE (RFC 7636).
func (c oauthClient) login(ctx context.Context, scope string) (browserLogin, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return browserLogin{}, err
	}
	l := browserLogin{browser: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	state, verifier := rand.Text(), rand.Text()+rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	page, err := c.loginPage(ctx, l.browser, url.Values{
		"response_type": {"code"}, "client_id": {stack.AppID}, "redirect_uri": {stack.AppRedirect},
		"scope": {scope}, "state": {state}, "nonce": {rand.Text()},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	})
	if err != nil {
		return l, fmt.Errorf("opening the login page: %w", err)
	}
	code, err := submit(ctx, l.browser, page, state)
	if err != nil {
		return l, fmt.Errorf("logging in: %w", err)
	}
	t, err := c.token(ctx, url.Values{
		"grant_type": {"authorization_code"}, "client_id": {stack.AppID}, "code": {code},
		"redirect_uri": {stack.AppRedirect}, "code_verifier": {verifier},
	}, false)
	l.accessToken, l.idToken = t.AccessToken, t.IDToken
	return l, err
}

// form is an HTML form, as far as a login page needs one.
type form struct {
	action *url.URL
	hidden url.Values
}

var (
	formTag  = regexp.MustCompile(`<form[^>]*\saction="([^"]*)"`)
	inputTag = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

func (c oauthClient) loginPage(ctx context.Context, browser *http.Client, query url.Values) (form, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.endpoint("auth")+"?"+query.Encode(), nil)
	if err != nil {
		return form{}, err
	}
	status, body, err := send(browser, req)
	if err != nil {
		return form{}, err
	}
	match := formTag.FindSubmatch(body)
	if status != http.StatusOK || match == nil {
		return form{}, fmt.Errorf("%d and no form", status)
	}
	action, err := req.URL.Parse(html.UnescapeString(string(match[1])))
	if err != nil {
		return form{}, fmt.Errorf("reading the form's action: %w", err)
	}
	f := form{action: action, hidden: url.Values{}}
	for _, m := range inputTag.FindAllSubmatch(body, -1) {
		f.hidden.Set(html.UnescapeString(string(m[1])), html.UnescapeString(string(m[2])))
	}
	return f, nil
}

// submit fills in the form and takes the code out of the redirect.
func submit(ctx context.Context, browser *http.Client, f form, state string) (string, error) {
	f.hidden.Set("username", stack.UserName)
	f.hidden.Set("password", stack.UserPassword)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.action.String(), strings.NewReader(f.hidden.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := browser.Do(req)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("%s and no redirect", resp.Status)
	}
	q := to.Query()
	if q.Get("state") != state {
		return "", errors.New("the redirect does not carry our state")
	}
	if q.Get("code") == "" {
		return "", fmt.Errorf("no code: %s (%s)", q.Get("error"), q.Get("error_description"))
	}
	return q.Get("code"), nil
}

// logout ends the session at the issuer (OpenID Connect RP-Initiated Logout 1.0).
func (c oauthClient) logout(ctx context.Context, l browserLogin) error {
	query := url.Values{"id_token_hint": {l.idToken}, "client_id": {stack.AppID}, "post_logout_redirect_uri": {stack.AppRedirect}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.endpoint("logout")+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	status, _, err := send(l.browser, req)
	if err != nil {
		return fmt.Errorf("logging out: %w", err)
	}
	if status != http.StatusFound && status != http.StatusSeeOther && status != http.StatusOK {
		return fmt.Errorf("logging out: %d", status)
	}
	return nil
}
