package client

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyARightSecretIsRight(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	rotated := Client{SecretHash: HashSecret("new"), OldSecretHash: HashSecret("old"), OldSecretUntil: end}
	tests := []struct {
		name   string
		client Client
		secret string
		now    time.Time
		want   bool
	}{
		{"current", rotated, "new", end, true},
		{"old before its end", rotated, "old", end.Add(-1), true},
		{"old at its end", rotated, "old", end, false},
		{"wrong", rotated, "News", end.Add(-1), false},
		{"empty", rotated, "", end.Add(-1), false},
		{"the hash itself", rotated, rotated.SecretHash, end.Add(-1), false},
		{"no secret, none given", Client{}, "", end, false},
		{"no secret, one given", Client{}, "new", end, false},
		{"old without an end", Client{OldSecretHash: HashSecret("old")}, "old", end, false},
		{"hash with a tail", Client{SecretHash: HashSecret("new") + "0"}, "new", end, false},
		{"hash cut short", Client{SecretHash: HashSecret("new")[:hashSize-1]}, "new", end, false},
	}
	for _, tt := range tests {
		if got := tt.client.CheckSecret(tt.secret, tt.now); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

func TestAHashNamesItsFunction(t *testing.T) {
	t.Parallel()
	// SHA-256 of "abc" (FIPS 180-4 example).
	const want = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := HashSecret("abc"); got != want || len(got) != hashSize {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAClientGetsWhatItMayHave(t *testing.T) {
	t.Parallel()
	c := Client{DefaultClientScopes: []string{"profile", "email"}, OptionalClientScopes: []string{"a", "b", "email"}}
	tests := []struct {
		name             string
		asked            string
		granted, refused string
	}{
		{"nothing asked", "", "profile email", ""},
		{"optional ones in the client's order", "b a", "profile email a b", ""},
		{"a default one asked", "email", "profile email", ""},
		{"openid is everybody's and first", "a openid", "openid profile email a", ""},
		{"twice", "a a openid openid", "openid profile email a", ""},
		{"unknown ones", "x a y", "profile email a", "x y"},
		{"case counts", "A", "profile email", "A"},
	}
	for _, tt := range tests {
		granted, refused := c.Grantable(strings.Fields(tt.asked))
		if diff := cmp.Diff(tt.granted, strings.Join(granted, " ")); diff != "" {
			t.Errorf("%s: granted (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.refused, strings.Join(refused, " ")); diff != "" {
			t.Errorf("%s: refused (-want +got):\n%s", tt.name, diff)
		}
	}
	c.HiddenScopes = []string{"profile"}
	if granted, refused := c.Grantable([]string{"profile", "a"}); !slices.Equal(granted, []string{"email", "a"}) || refused != nil {
		t.Errorf("with a hidden scope: granted %q, refused %q", granted, refused)
	}
	if granted, _ := (Client{DefaultClientScopes: []string{"openid"}}).Grantable([]string{"openid"}); len(granted) != 1 {
		t.Errorf("openid twice: %q", granted)
	}
}

func TestGrantingLeavesTheClientAlone(t *testing.T) {
	t.Parallel()
	scopes := append(make([]string, 0, 8), "profile")
	c := Client{DefaultClientScopes: scopes, OptionalClientScopes: []string{"a"}}
	c.Grantable([]string{"a"})
	if got := scopes[:2][1]; got != "" {
		t.Errorf("the client's own list got %q", got)
	}
}

func TestARedirectIsExactButForLoopbackPorts(t *testing.T) {
	t.Parallel()
	c := Client{RedirectURIs: []string{
		"https://app.example/cb", "https://app.example:8443/cb?tenant=1", "com.example.app:/cb",
		"http://127.0.0.1/native", "http://[::1]:9000/native?x=1", "http://localhost/dev",
	}}
	tests := []struct {
		uri  string
		want bool
	}{
		{"https://app.example/cb", true},
		{"https://app.example:8443/cb?tenant=1", true},
		{"com.example.app:/cb", true},
		{"http://127.0.0.1/native", true},
		{"http://127.0.0.1:49152/native", true}, // RFC 8252 §7.3
		{"http://[::1]:1/native?x=1", true},
		{"http://[::1]/native?x=1", true},
		{"http://127.0.0.1:65535/native", true},
		{"http://localhost/dev", true},       // exact is exact
		{"http://localhost:3000/dev", false}, // §8.3: a name, not an address
		{"", false},
		{"+", false},
		{"https://app.example/cb/", false},
		{"https://app.example/CB", false},
		{"https://app.example:443/cb", false},
		{"https://app.example/cb?x=1", false},
		{"https://app.example/cb#x", false},
		{"https://app.example/x/../cb", false},
		{"http://app.example/cb", false},
		{"https://127.0.0.1:49152/native", false}, // plain http alone
		{"HTTP://127.0.0.1:49152/native", false},
		{"http://127.0.0.1:49152/native/x", false},
		{"http://127.0.0.1:49152/native?x=1", false},
		{"http://127.0.0.2/native", false},
		{"http://127.1/native", false},
		{"http://[0::1]:9000/native?x=1", false},
		{"http://127.0.0.1:/native", false},
		{"http://127.0.0.1:0/native", false},
		{"http://127.0.0.1:080/native", false},
		{"http://127.0.0.1:+80/native", false},
		{"http://127.0.0.1:65536/native", false},
		{"http://127.0.0.1:80@evil.example/", false},
		{"http://127.0.0.1.evil.example/nat", false},
		{"http://127.0.0.1@evil.example/nat", false},
		{"http://127.0.0.1:80\\@evil.example", false},
	}
	for _, tt := range tests {
		if got := c.AllowsRedirect(tt.uri); got != tt.want {
			t.Errorf("%q: got %v", tt.uri, got)
		}
	}
}

func TestPostLogoutURIs(t *testing.T) {
	t.Parallel()
	const login, bye = "https://app.example/cb", "https://app.example/bye"
	tests := []struct {
		name       string
		registered []string
		uri        string
		want       bool
	}{
		{"unset means the redirect URIs", nil, login, true},
		{"unset means only those", nil, bye, false},
		{"plus means the redirect URIs", []string{"+"}, login, true},
		{"plus beside others", []string{bye, "+"}, login, true},
		{"others beside plus", []string{"+", bye}, bye, true},
		{"without plus they are not meant", []string{bye}, login, false},
		{"plus is no URI", []string{"+"}, "+", false},
		{"nothing is no URI", nil, "", false},
	}
	for _, tt := range tests {
		c := Client{RedirectURIs: []string{login}, PostLogoutRedirectURIs: tt.registered}
		if got := c.AllowsPostLogout(tt.uri); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

func TestWhatCannotWorkIsNotStored(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Client)
		want   string // part of the error; empty: none
	}{
		{"a plain one", func(*Client) {}, ""},
		{"a URL as id", func(c *Client) { c.ClientID = "https://sp.example/saml?x=ü" }, ""},
		{"a private scheme", func(c *Client) { c.RedirectURIs = []string{"com.example.app:/cb"} }, ""},
		{"plus", func(c *Client) { c.PostLogoutRedirectURIs = []string{"+"} }, ""},
		{"no realm", func(c *Client) { c.RealmID = "" }, "no realm"},
		{"no id", func(c *Client) { c.ClientID = "" }, "clientId"},
		{"a long id", func(c *Client) { c.ClientID = strings.Repeat("a", 256) }, "clientId"},
		{"a control character", func(c *Client) { c.ClientID = "a\nb" }, "clientId"},
		{"broken UTF-8", func(c *Client) { c.ClientID = "a\xff" }, "clientId"},
		{"public service account", func(c *Client) { c.PublicClient, c.ServiceAccountsEnabled = true, true }, "service account"},
		{"public with a secret", func(c *Client) { c.PublicClient, c.SecretHash = true, HashSecret("s") }, "no secret"},
		{"unknown authenticator", func(c *Client) { c.ClientAuthenticatorType = "client-x509" }, "client-x509"},
		{"negative lifetime", func(c *Client) { c.AccessTokenLifespan = -1 }, "negative"},
		{"wildcard path", func(c *Client) { c.RedirectURIs = []string{"https://app.example/*"} }, "exactly"},
		{"wildcard host", func(c *Client) { c.PostLogoutRedirectURIs = []string{"https://*.example/bye"} }, "exactly"},
		{"relative", func(c *Client) { c.RedirectURIs = []string{"/cb"} }, "absolute"},
		{"plus as redirect", func(c *Client) { c.RedirectURIs = []string{"+"} }, "absolute"},
		{"empty redirect", func(c *Client) { c.RedirectURIs = []string{""} }, "absolute"},
		{"fragment", func(c *Client) { c.RedirectURIs = []string{"https://app.example/#"} }, "fragment"},
		{"script", func(c *Client) { c.RedirectURIs = []string{"javascript:alert(1)"} }, "scheme"},
		{"script in capitals", func(c *Client) { c.RedirectURIs = []string{"JavaScript:alert(1)"} }, "scheme"},
		{"user information", func(c *Client) { c.RedirectURIs = []string{"https://a@app.example/"} }, "user information"},
		{"no host", func(c *Client) { c.RedirectURIs = []string{"https:///cb"} }, "no host"},
		{"port alone", func(c *Client) { c.RedirectURIs = []string{"https://:443/cb"} }, "no host"},
		{"backslash", func(c *Client) { c.RedirectURIs = []string{`https://app.example\@evil.example/`} }, "backslash"},
		{"line break", func(c *Client) { c.RedirectURIs = []string{"https://app.example/\r\n"} }, "control character"},
		{"a long redirect", func(c *Client) { c.RedirectURIs = []string{"https://app.example/" + strings.Repeat("a", 2048)} }, "2048"},
		{"scope with a space", func(c *Client) { c.DefaultClientScopes = []string{"a b"} }, "scope"},
		{"empty scope", func(c *Client) { c.OptionalClientScopes = []string{""} }, "scope"},
		{"quoted scope", func(c *Client) { c.OptionalClientScopes = []string{`a"`} }, "scope"},
		{"broken keys", func(c *Client) { c.JWKS = json.RawMessage(`{`) }, "jwks"},
		{"keys in a file", func(c *Client) { c.JWKSURI = "file:///etc/jwks" }, "jwksUri"},
		{"too much", func(c *Client) { c.Attributes = map[string]string{"a": strings.Repeat("a", maxClient)} }, "larger"},
	}
	for _, tt := range tests {
		c := Client{RealmID: "r", ClientID: "app", RedirectURIs: []string{"https://app.example/cb"}}
		tt.change(&c)
		err := c.check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

// FuzzAllowsRedirect compares with a plain reading: what is accepted is what
// is registered, or both are plain http to one loopback IP and differ in the
// port alone.
func FuzzAllowsRedirect(f *testing.F) {
	for _, seed := range [][2]string{
		{"https://app.example/cb", "https://app.example/cb"},
		{"http://127.0.0.1/cb", "http://127.0.0.1:8080/cb"},
		{"http://[::1]:1/cb?x", "http://[::1]:2/cb?x"},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb"},
		{"http://127.0.0.1:80", "http://127.0.0.1?"},
		{"http://127.0.0.1", "http://127.0.0.1.example"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, registered, uri string) {
		c := Client{RedirectURIs: []string{registered}}
		if checkRedirect(registered) != nil {
			return // cannot be stored
		}
		if !c.AllowsRedirect(registered) {
			t.Fatalf("%q is registered and refused", registered)
		}
		if !c.AllowsRedirect(uri) || uri == registered {
			return
		}
		want, err := url.Parse(registered)
		if err != nil {
			t.Fatal(err)
		}
		got, err := url.Parse(uri)
		if err != nil {
			t.Fatalf("%q is accepted and does not parse", uri)
		}
		if host := got.Hostname(); host != "127.0.0.1" && host != "::1" || got.Scheme != "http" {
			t.Fatalf("%q is accepted for %q: not loopback", uri, registered)
		}
		if got.Hostname() != want.Hostname() {
			t.Fatalf("%q is accepted for %q: another host", uri, registered)
		}
		got.Host, want.Host = "", ""
		if diff := cmp.Diff(want.String(), got.String()); diff != "" {
			t.Fatalf("%q is accepted for %q: more than the port differs:\n%s", uri, registered, diff)
		}
	})
}

func TestLifespansAreSeconds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		attribute, value string
		want             Lifespans
		wrong            bool
	}{
		{attribute: attrAccessLifespan, value: "60", want: Lifespans{AccessToken: time.Minute}},
		{attribute: attrSessionIdle, value: "60", want: Lifespans{SessionIdle: time.Minute}},
		{attribute: attrSessionMax, value: "60", want: Lifespans{SessionMax: time.Minute}},
		{attribute: attrOfflineSessionIdle, value: "60", want: Lifespans{OfflineIdle: time.Minute}},
		{attribute: attrOfflineSessionMax, value: "60", want: Lifespans{OfflineMax: time.Minute}},
		{attribute: attrSessionMax, value: ""},
		{attribute: attrSessionMax, value: "0"},
		{attribute: attrSessionMax, value: "-1", wrong: true},
		{attribute: attrSessionMax, value: "1h", wrong: true},
		{attribute: attrSessionMax, value: "9999999999999999999", wrong: true},
		{attribute: attrSessionMax, value: "400000000", wrong: true},
	}
	for _, tt := range tests {
		c := Client{Attributes: map[string]string{tt.attribute: tt.value}}
		if err := c.checkLifespans(); (err != nil) != tt.wrong {
			t.Errorf("%s %q: %v", tt.attribute, tt.value, err)
		} else if got := c.Lifespans(); err == nil && got != tt.want {
			t.Errorf("%s %q: %+v, want %+v", tt.attribute, tt.value, got, tt.want)
		}
	}
	own := Client{AccessTokenLifespan: time.Hour, Attributes: map[string]string{attrAccessLifespan: "60"}}
	if got := own.Lifespans().AccessToken; got != time.Hour {
		t.Errorf("both ways: %v, want the field's", got)
	}
}
