package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// The realm, its person and its app, as testdata/realm.json has them.
const (
	realm    = "parity"
	user     = "alice"
	password = "alice-password-for-loopback"
	redirect = "http://127.0.0.1:9999/cb"
	verifier = "a-code-verifier-that-is-long-enough-for-rfc7636"
)

// exchange is one question: a request, or a login in a browser.
//
//	### name
//	! login CLIENT SCOPE… -> CODE    log in with a new browser, keep the code as $CODE
//	! wait DURATION
//	! consent CLIENT BUTTON SCOPE… -> CODE   the same, and answer the page that asks for consent
//	? consent CLIENT BUTTON SCOPE…   ask what becomes of that
//	> METHOD /path                   {oidc} is /realms/parity/protocol/openid-connect
//	> Header: value                  "Basic id:secret" is encoded
//	= form                           values may be $NAME
//	$ NAME member                    keep a member of the answer as $NAME
type exchange struct {
	name  string
	lines []string
}

// parse reads conversations.
func parse(text string) []exchange {
	var all []exchange
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		name, isName := strings.CutPrefix(line, "### ")
		switch {
		case isName:
			all = append(all, exchange{name: name})
		case line != "" && !strings.HasPrefix(line, "//"):
			e := &all[len(all)-1]
			e.lines = append(e.lines, line)
		}
	}
	return all
}

// talk is one talk with one server.
type talk struct {
	base   string
	client *http.Client
	vars   map[string]string
}

func newTalk(base string) *talk {
	return &talk{base: base, vars: map[string]string{"VERIFIER": verifier, "REDIRECT": redirect}, client: &http.Client{
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// hold goes through the conversations and returns the answers by name.
func (t *talk) hold(ctx context.Context, all []exchange) (map[string]answer, error) {
	answers := make(map[string]answer)
	for _, e := range all {
		a, err := t.ask(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		if a != nil {
			answers[e.name] = a
		}
	}
	return answers, nil
}

// ask returns the answer, nil for an exchange that asks nothing.
func (t *talk) ask(ctx context.Context, e exchange) (answer, error) {
	var req *http.Request
	keep := make(map[string]string)
	for _, line := range e.lines {
		mark, rest, _ := strings.Cut(line, " ")
		rest = t.expand(strings.ReplaceAll(rest, "{oidc}", "/realms/"+realm+"/protocol/openid-connect"))
		var err error
		switch mark {
		case "?":
			return t.consent(ctx, strings.Fields(rest))
		case "!":
			err = t.direct(ctx, strings.Fields(rest))
		case ">":
			req, err = t.header(ctx, req, rest)
		case "=":
			req.Body = io.NopCloser(strings.NewReader(rest))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		case "$":
			name, member, _ := strings.Cut(rest, " ")
			keep[name] = member
		default:
			err = fmt.Errorf("what is %q?", line)
		}
		if err != nil {
			return nil, err
		}
	}
	if req == nil {
		return nil, nil
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	t.keep(keep, body)
	return normal(t.base, resp, body), nil
}

// keep keeps what is there; that something is missing, the answer shows.
func (t *talk) keep(names map[string]string, body []byte) {
	var members map[string]any
	_ = json.Unmarshal(body, &members)
	for name, member := range names {
		if value, ok := members[member].(string); ok {
			t.vars[name] = value
		}
	}
}

var variable = regexp.MustCompile(`\$[A-Z][A-Z0-9]*`)

// expand replaces $NAME, escaped for a form.
func (t *talk) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(name string) string {
		if v, ok := t.vars[name[1:]]; ok {
			return url.QueryEscape(v)
		}
		return name
	})
}

func (t *talk) direct(ctx context.Context, words []string) error {
	switch {
	case len(words) == 2 && words[0] == "wait":
		d, err := time.ParseDuration(words[1])
		if err == nil {
			time.Sleep(d) // two servers with clocks of their own
		}
		return err
	case len(words) >= 4 && words[0] == "login" && words[len(words)-2] == "->":
		return t.redeemable(ctx, words[1], strings.Join(words[2:len(words)-2], " "), "", words[len(words)-1])
	case len(words) >= 5 && words[0] == "consent" && words[len(words)-2] == "->":
		return t.redeemable(ctx, words[1], strings.Join(words[3:len(words)-2], " "), words[2], words[len(words)-1])
	}
	return fmt.Errorf("what is %q?", words)
}

// redeemable keeps the code of a login.
func (t *talk) redeemable(ctx context.Context, client, scope, button, name string) error {
	v, err := t.login(ctx, client, scope, button)
	if err == nil {
		t.vars[name], err = v.code()
	}
	return err
}

// consent is what becomes of a login with consent.
func (t *talk) consent(ctx context.Context, words []string) (answer, error) {
	if len(words) < 4 || words[0] != "consent" {
		return nil, fmt.Errorf("what is %q?", words)
	}
	v, err := t.login(ctx, words[1], strings.Join(words[3:], " "), words[2])
	if err != nil {
		return nil, err
	}
	return normal(t.base, v.resp, []byte(v.page)), nil
}

// header adds a line to the request; the first makes it.
func (t *talk) header(ctx context.Context, req *http.Request, line string) (*http.Request, error) {
	if req == nil {
		method, path, _ := strings.Cut(line, " ")
		return http.NewRequestWithContext(ctx, method, t.base+path, nil)
	}
	name, value, _ := strings.Cut(line, ": ")
	if pair, ok := strings.CutPrefix(value, "Basic "); ok {
		id, secret, _ := strings.Cut(pair, ":")
		req.SetBasicAuth(id, secret)
		return req, nil
	}
	value, err := url.QueryUnescape(value) // of what expand escaped
	req.Header.Set(name, value)
	return req, err
}

var (
	formAction  = regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"`)
	hiddenInput = regexp.MustCompile(`(?s)<input[^>]*type="hidden"[^>]*>`)
	attribute   = regexp.MustCompile(`(name|value)="([^"]*)"`)
)

// visit is a browser of its own, which holds cookies as browsers do on
// loopback: Secure ones too.
type visit struct {
	*talk
	cookies map[string]string
	resp    *http.Response
	page    string
}

// login goes through the login page, and through the page that asks for consent
// by one of its buttons.
func (t *talk) login(ctx context.Context, client, scope, button string) (*visit, error) {
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {client}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {scope}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	v := &visit{talk: t, cookies: make(map[string]string)}
	if err := v.open(ctx, t.base+"/realms/"+realm+"/protocol/openid-connect/auth?"+query.Encode(), nil); err != nil {
		return nil, err
	}
	if err := v.submit(ctx, url.Values{"username": {user}, "password": {password}}); err != nil || button == "" {
		return v, err
	}
	return v, v.submit(ctx, url.Values{button: {"x"}})
}

// code is what the client was sent.
func (v *visit) code() (string, error) {
	back, err := url.Parse(v.resp.Header.Get("Location"))
	if err != nil || back.Query().Get("code") == "" {
		return "", fmt.Errorf("the login gave no code: %d %q %.300s", v.resp.StatusCode, v.resp.Header.Get("Location"), v.page)
	}
	return back.Query().Get("code"), nil
}

// submit posts the form of the page, its hidden inputs and more.
func (v *visit) submit(ctx context.Context, form url.Values) error {
	for _, input := range hiddenInput.FindAllString(v.page, -1) {
		parts := make(map[string]string)
		for _, m := range attribute.FindAllStringSubmatch(input, -1) {
			parts[m[1]] = html.UnescapeString(m[2])
		}
		form.Set(parts["name"], parts["value"])
	}
	action := formAction.FindStringSubmatch(v.page)
	if action == nil {
		return fmt.Errorf("no form in %.300s", v.page)
	}
	target, err := url.Parse(html.UnescapeString(action[1]))
	if err != nil {
		return err
	}
	here, err := url.Parse(v.base)
	if err != nil {
		return err
	}
	return v.open(ctx, here.ResolveReference(target).String(), form)
}

// open goes to a page, and on to where that sends it within the server.
func (v *visit) open(ctx context.Context, target string, form url.Values) (err error) {
	const most = 5
	for range most {
		v.resp, v.page, err = v.browse(ctx, v.cookies, target, form)
		if err != nil {
			return err
		}
		target, form = v.resp.Header.Get("Location"), nil
		if !strings.HasPrefix(target, v.base+"/") {
			return nil
		}
	}
	return fmt.Errorf("sent on %d times, last to %s", most, target)
}

// browse is one request of a browser: a POST if there is a form.
func (t *talk) browse(ctx context.Context, cookies map[string]string, target string, form url.Values) (*http.Response, string, error) {
	method, content := http.MethodGet, ""
	if form != nil {
		method, content = http.MethodPost, form.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(content))
	if err != nil {
		return nil, "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", t.base)
	}
	for name, value := range cookies {
		req.Header.Add("Cookie", name+"="+value)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	for _, c := range resp.Cookies() {
		cookies[c.Name] = c.Value
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}
