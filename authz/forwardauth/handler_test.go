package forwardauth

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

// checkerFunc is a Checker.
type checkerFunc func(check.Request) check.Decision

func (f checkerFunc) Check(_ context.Context, r check.Request) check.Decision { return f(r) }

func allow(check.Request) check.Decision { return check.Decision{Allowed: true} }

func handler(t testing.TB, f checkerFunc) *Handler {
	t.Helper()
	h, err := New(Config{Checker: f, MaxBody: 100, Now: func() time.Time { return time.Unix(1, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// arrived parses a request as a server does. Lines end as they are written
// here; the body, if any, follows an empty line.
func arrived(t testing.TB, text string) *http.Request {
	t.Helper()
	head, body, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n\n")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	r.RemoteAddr = "127.0.0.1:4711"
	return r
}

// ask puts a question to h.
func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// seen is what check is told.
type seen struct {
	Method, Path, Host, Scheme, Policy string
	Authorization, Proofs              []string
}

func TestTheOriginalRequestIsRead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     seen
	}{
		{
			"envoy", `
DELETE /auth/envoy/a%2Fb//c/../;x?q=/auth/nginx HTTP/1.1
Host: api.example:8443
Authorization: Bearer a
X-Original-Uri: /other
X-Forwarded-Uri: /other`,
			seen{Method: "DELETE", Path: "/a%2Fb//c/../;x?q=/auth/nginx", Host: "api.example:8443", Authorization: []string{"Bearer a"}},
		},
		{
			"envoy, a path that looks like another door's", `
GET /auth/envoy/../nginx HTTP/1.1
Host: api
X-Original-Uri: /other
X-Original-Method: GET
X-Forwarded-Host: api`,
			seen{Method: "GET", Path: "/../nginx", Host: "api"},
		},
		{
			"nginx", `
GET /auth/nginx HTTP/1.0
Host: authz
X-Original-Method: PUT
X-Original-URI: /a%2Fb//c;x?q=1
X-Forwarded-Host: api
X-Forwarded-Uri: /other
X-Forwarded-Method: GET
Authorization: Bearer a
Authorization: Bearer b`,
			seen{Method: "PUT", Path: "/a%2Fb//c;x?q=1", Host: "api", Authorization: []string{"Bearer a", "Bearer b"}},
		},
		{
			"traefik", `
GET /auth/traefik?policy=strict HTTP/1.1
Host: authz
X-Forwarded-Method: PATCH
X-Forwarded-Uri: /x?y
X-Forwarded-Host: api:1
X-Forwarded-Proto: https
DPoP: a
dpop: b
X-Original-Uri: /other`,
			seen{Method: "PATCH", Path: "/x?y", Host: "api:1", Scheme: "https", Policy: "strict", Proofs: []string{"a", "b"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got seen
			w := ask(handler(t, func(r check.Request) check.Decision {
				if r.Size < len(r.Path) || r.Size > len(tt.in) {
					t.Errorf("size = %d", r.Size)
				}
				got = seen{r.Method, r.Path, r.Host, r.Scheme, r.Extension("policy"), r.Authorization, r.Proofs}
				return check.Decision{Allowed: true}
			}), arrived(t, tt.in))
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("seen (-want +got):\n%s", d)
			}
			if w.Code != http.StatusOK {
				t.Errorf("answered %d", w.Code)
			}
		})
	}
}

// Good questions, from which bad ones are made.
const (
	goodEnvoy = `
GET /auth/envoy/x HTTP/1.1
Host: api`
	goodNGINX = `
GET /auth/nginx HTTP/1.1
Host: authz
X-Original-Method: GET
X-Original-URI: /x
X-Forwarded-Host: api`
	goodTraefik = `
GET /auth/traefik HTTP/1.1
Host: authz
X-Forwarded-Method: GET
X-Forwarded-Uri: /x
X-Forwarded-Host: api`
)

func TestWhatCannotBeReadInOneWayIsRefused(t *testing.T) {
	t.Parallel()
	replace := func(s, old, with string) string { return strings.Replace(s, old, with, 1) }
	tests := map[string]struct {
		in   string
		want int
	}{
		"no door":                         {replace(goodEnvoy, "/auth/envoy/x", "/x"), 404},
		"a door's neighbour":              {replace(goodNGINX, "/auth/nginx", "/auth/nginx/"), 404},
		"a door, spelled otherwise":       {replace(goodNGINX, "/auth/nginx", "/auth/%6eginx"), 404},
		"a door, from elsewhere":          {replace(goodNGINX, "/auth/nginx", "http://authz/auth/nginx"), 404},
		"envoy: no path":                  {replace(goodEnvoy, "/auth/envoy/x", "/auth/envoy"), 400},
		"envoy: asterisk form":            {replace(goodEnvoy, "/auth/envoy/x", "/auth/envoy*"), 400},
		"envoy: a longer prefix":          {replace(goodEnvoy, "/auth/envoy/x", "/auth/envoyx"), 400},
		"envoy: a fragment":               {replace(goodEnvoy, "/x", "/x#/y"), 400},
		"envoy: bytes that are no URL":    {replace(goodEnvoy, "/x", "/ö"), 400},
		"envoy: an endless path":          {replace(goodEnvoy, "/x", "/"+strings.Repeat("x", maxTarget)), 414},
		"envoy: a scheme of its own":      {goodEnvoy + "\nX-Forwarded-Proto: ftp", 400},
		"envoy: two schemes":              {goodEnvoy + "\nX-Forwarded-Proto: http\nX-Forwarded-Proto: https", 400},
		"envoy: headers without end":      {goodEnvoy + "\nX: " + strings.Repeat("x", maxHeaders), 431},
		"envoy: a body without end":       {goodEnvoy + "\nContent-Length: 101\n\n" + strings.Repeat("x", 101), 413},
		"envoy: a chunked one":            {goodEnvoy + "\nTransfer-Encoding: chunked\n\n65\r\n" + strings.Repeat("x", 101) + "\r\n0\r\n\r\n", 413},
		"envoy: half a body":              {goodEnvoy + "\nContent-Length: 10\n\nx", 400},
		"nginx: no method":                {replace(goodNGINX, "X-Original-Method", "X"), 403},
		"nginx: no target":                {replace(goodNGINX, "X-Original-URI", "X"), 403},
		"nginx: no host":                  {replace(goodNGINX, "X-Forwarded-Host", "X"), 403},
		"nginx: empty target":             {replace(goodNGINX, "URI: /x", "URI:"), 403},
		"nginx: empty method":             {replace(goodNGINX, "Method: GET", "Method:"), 403},
		"nginx: empty host":               {replace(goodNGINX, "Host: api", "Host:"), 403},
		"envoy: no host":                  {"\nGET /auth/envoy/x HTTP/1.0", 400},
		"envoy: an empty scheme":          {goodEnvoy + "\nX-Forwarded-Proto:", 400},
		"nginx: two methods":              {goodNGINX + "\nX-Original-Method: GET", 403},
		"nginx: two targets":              {goodNGINX + "\nX-Original-URI: /x", 403},
		"nginx: two hosts":                {goodNGINX + "\nX-Forwarded-Host: api", 403},
		"nginx: traefik's words":          {replace(goodTraefik, "traefik", "nginx"), 403},
		"nginx: joined methods":           {replace(goodNGINX, "Method: GET", "Method: GET, PUT"), 403},
		"nginx: joined targets":           {replace(goodNGINX, "URI: /x", "URI: /x, /y"), 403},
		"nginx: joined hosts":             {replace(goodNGINX, "Host: api", "Host: api,api"), 403},
		"nginx: a host with a path":       {replace(goodNGINX, "Host: api", "Host: api/x"), 403},
		"nginx: an absolute target":       {replace(goodNGINX, "URI: /x", "URI: http://api/x"), 403},
		"nginx: a dot segment":            {replace(goodNGINX, "URI: /x", "URI: /x/../y"), 403},
		"nginx: a dot segment, in code":   {replace(goodNGINX, "URI: /x", "URI: /x/%2E%2e/y"), 403},
		"nginx: a dot segment behind %2f": {replace(goodNGINX, "URI: /x", "URI: /x%2f..%2Fy"), 403},
		"nginx: a dot with a parameter":   {replace(goodNGINX, "URI: /x", "URI: /x/..;a/y"), 403},
		"nginx: a dot and a backslash":    {replace(goodNGINX, "URI: /x", `URI: /x\..\y`), 403},
		"nginx: a single dot":             {replace(goodNGINX, "URI: /x", "URI: /./x"), 403},
		"nginx: a broken escape":          {replace(goodNGINX, "URI: /x", "URI: /%zz/%2e%2e/"), 403},
		"nginx: two policies":             {replace(goodNGINX, "/auth/nginx", "/auth/nginx?policy=a&policy=b"), 403},
		"nginx: a broken query":           {replace(goodNGINX, "/auth/nginx", "/auth/nginx?%zz"), 403},
		"traefik: no method":              {replace(goodTraefik, "X-Forwarded-Method", "X"), 400},
		"traefik: no target":              {replace(goodTraefik, "X-Forwarded-Uri", "X"), 400},
		"traefik: nginx's words":          {replace(goodNGINX, "nginx", "traefik"), 400},
		"traefik: a dot segment":          {replace(goodTraefik, "Uri: /x", "Uri: /x/.."), 400},
		"traefik: asterisk form":          {replace(goodTraefik, "Uri: /x", "Uri: *"), 400},
		"traefik: a body without end":     {goodTraefik + "\nContent-Length: 101\n\n" + strings.Repeat("x", 101), 413},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := handler(t, func(check.Request) check.Decision {
				t.Error("check was asked")
				return check.Decision{Allowed: true}
			})
			if w := ask(h, arrived(t, tt.in)); w.Code != tt.want {
				t.Errorf("answered %d, want %d", w.Code, tt.want)
			}
		})
	}
	for _, good := range []string{goodEnvoy, goodNGINX, goodTraefik} {
		if w := ask(handler(t, allow), arrived(t, good)); w.Code != http.StatusOK {
			t.Errorf("answered %d to the good question %s", w.Code, good)
		}
	}
}

func TestOnlyTrustedPeersAreBelieved(t *testing.T) {
	t.Parallel()
	ours := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}
	tests := []struct {
		name    string
		trusted []netip.Prefix
		peer    string
		unix    bool
		want    int
	}{
		{"this machine, by default", nil, "127.0.0.1:1", false, 200},
		{"this machine, by default", nil, "[::1]:1", false, 200},
		{"this machine, IPv4 on an IPv6 socket", nil, "[::ffff:127.0.0.1]:1", false, 200},
		{"another machine, by default", nil, "10.1.2.3:1", false, 403},
		{"a configured one", ours, "10.1.2.3:1", false, 200},
		{"a configured one, IPv4 on an IPv6 socket", ours, "[::ffff:10.1.2.3]:1", false, 200},
		{"a configured one, with a zone", ours, "[fd00::1%eth0]:1", false, 200},
		{"a neighbour", ours, "10.2.0.1:1", false, 403},
		{"this machine, when others are configured", ours, "127.0.0.1:1", false, 403},
		{"nobody", []netip.Prefix{}, "127.0.0.1:1", false, 403},
		{"a socket", ours, "@", true, 200},
		{"what has no address", ours, "@", false, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.peer, func(t *testing.T) {
			t.Parallel()
			h, err := New(Config{Checker: checkerFunc(allow), TrustedPeers: tt.trusted})
			if err != nil {
				t.Fatal(err)
			}
			for _, question := range []string{goodNGINX, goodTraefik} {
				r := arrived(t, question)
				r.RemoteAddr = tt.peer
				if tt.unix {
					r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.UnixAddr{Net: "unix"}))
				}
				if w := ask(h, r); w.Code != tt.want {
					t.Errorf("answered %d, want %d", w.Code, tt.want)
				}
			}
		})
	}
}

// document is the input document of a question.
func document(t *testing.T, h func(checkerFunc) *Handler, r *http.Request) (doc ast.Object, key func([]byte, reads.Path) ([]byte, bool)) {
	t.Helper()
	w := ask(h(func(r check.Request) check.Decision {
		members, err := r.Input(nil)
		if err != nil {
			t.Error(err)
		}
		doc, key = ast.NewObject(members...), r.Key
		return check.Decision{Allowed: true}
	}), r)
	if w.Code != http.StatusOK {
		t.Fatalf("answered %d", w.Code)
	}
	return doc, key
}

func TestThePolicySeesTheOriginalRequest(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{
			"envoy", `
POST /auth/envoy/a%2Fb?x=1 HTTP/1.1
Host: api
Content-Type: application/json
Content-Length: 7
X-Forwarded-Proto: https
X-Envoy-External-Address: 192.0.2.7
Accept: a
Accept: b
Cookie: c=1
Cookie: d=2

{"a":1}`,
			`{"attributes": {
				"source": {"address": {"socketAddress": {"address": "192.0.2.7", "portValue": 0}}},
				"request": {"time": "1970-01-01T00:00:01Z", "http": {
					"method": "POST", "path": "/a%2Fb?x=1", "host": "api", "scheme": "https", "size": "7", "body": "{\"a\":1}",
					"headers": {":method": "POST", ":path": "/a%2Fb?x=1", ":authority": "api", ":scheme": "https",
						"content-type": "application/json", "content-length": "7", "x-forwarded-proto": "https",
						"x-envoy-external-address": "192.0.2.7", "accept": "a,b", "cookie": "c=1; d=2"}}}},
			"parsed_path": ["a", "b"], "parsed_query": {"x": ["1"]}, "parsed_body": {"a": 1}, "truncated_body": false,
			"version": {"encoding": "protojson", "ext_authz": "v3"}}`,
		},
		{
			"envoy, half of a body", `
POST /auth/envoy/ HTTP/1.1
Host: api
Content-Type: application/json
Content-Length: 3
X-Envoy-Auth-Partial-Body: true

{"a`,
			`{"attributes": {"request": {"time": "1970-01-01T00:00:01Z", "http": {
					"method": "POST", "path": "/", "host": "api", "size": "3", "body": "{\"a",
					"headers": {":method": "POST", ":path": "/", ":authority": "api",
						"content-type": "application/json", "content-length": "3", "x-envoy-auth-partial-body": "true"}}}},
			"parsed_path": [""], "parsed_query": {}, "parsed_body": null, "truncated_body": true,
			"version": {"encoding": "protojson", "ext_authz": "v3"}}`,
		},
		{
			"nginx", `
GET /auth/nginx?policy=strict HTTP/1.1
Host: authz
Connection: keep-alive
X-Original-Method: PUT
X-Original-URI: /x
X-Forwarded-Host: api
X-Forwarded-For: 6.6.6.6, 192.0.2.7
Content-Type: application/json
Content-Length: 0`,
			`{"attributes": {
				"source": {"address": {"socketAddress": {"address": "192.0.2.7", "portValue": 0}}},
				"contextExtensions": {"policy": "strict"},
				"request": {"time": "1970-01-01T00:00:01Z", "http": {
					"method": "PUT", "path": "/x", "host": "api",
					"headers": {":method": "PUT", ":path": "/x", ":authority": "api", "x-forwarded-host": "api",
						"x-forwarded-for": "6.6.6.6, 192.0.2.7", "content-type": "application/json"}}}},
			"parsed_path": ["x"], "parsed_query": {}, "parsed_body": null, "truncated_body": false,
			"version": {"encoding": "protojson", "ext_authz": "v3"}}`,
		},
		{
			"traefik, and a client that hides its body", `
GET /auth/traefik HTTP/1.1
Host: authz
X-Forwarded-Method: POST
X-Forwarded-Uri: /x
X-Forwarded-Host: api
X-Forwarded-Proto: wss
Content-Type: application/json
Content-Length: 7
X-Envoy-Auth-Partial-Body: true
X: ` + "\xff" + `

{"a":1}`,
			`{"attributes": {"request": {"time": "1970-01-01T00:00:01Z", "http": {
					"method": "POST", "path": "/x", "host": "api", "scheme": "https", "size": "7", "body": "{\"a\":1}",
					"headers": {":method": "POST", ":path": "/x", ":authority": "api", ":scheme": "https", "x-forwarded-host": "api",
						"x-forwarded-proto": "wss", "content-type": "application/json", "content-length": "7", "x": "!"}}}},
			"parsed_path": ["x"], "parsed_query": {}, "parsed_body": {"a": 1}, "truncated_body": false,
			"version": {"encoding": "protojson", "ext_authz": "v3"}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, key := document(t, func(f checkerFunc) *Handler { return handler(t, f) }, arrived(t, tt.in))
			want := ast.MustParseTerm(tt.want).Value.(ast.Object)
			if got.Compare(want) != 0 {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			for _, path := range []reads.Path{
				{"attributes", "request", "http", "headers", "accept"}, {"attributes", "request", "http", "path"}, {"parsed_body"}, {"nope", "nope"},
			} {
				k, ok := key(nil, path)
				if w, _ := (reads.Reads{Paths: []reads.Path{path}}).AppendKey(nil, want); !ok || string(k) != string(w) {
					t.Errorf("key of %v = %q, want %q", path, k, w)
				}
			}
		})
	}
}

func TestAnUntrustedEnvoyIsNotBelievedItsExtras(t *testing.T) {
	t.Parallel()
	r := arrived(t, goodEnvoy+"\nX-Forwarded-Proto: https\nX-Envoy-External-Address: 192.0.2.7")
	r.RemoteAddr = "192.0.2.1:1"
	doc, _ := document(t, func(f checkerFunc) *Handler { return handler(t, f) }, r)
	for _, path := range []string{"input.attributes.source", "input.attributes.request.http.scheme"} {
		if v, err := doc.Find(ast.MustParseRef(path)[1:]); err == nil {
			t.Errorf("%s = %v", path, v)
		}
	}
}

func TestRefusalsAreTakenForRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		question string
		want     map[int]int // what a decision says → what the proxy hears
	}{
		{goodEnvoy, map[int]int{0: 403, 200: 403, 204: 403, 302: 302, 400: 400, 401: 401, 403: 403, 429: 429, 500: 403, 503: 403}},
		{goodNGINX, map[int]int{0: 403, 200: 403, 204: 403, 302: 403, 400: 403, 401: 401, 403: 403, 429: 403, 500: 403, 503: 403}},
		{goodTraefik, map[int]int{0: 403, 200: 403, 204: 403, 302: 302, 400: 400, 401: 401, 403: 403, 429: 429, 500: 500, 503: 503}},
	}
	for _, tt := range tests {
		for said, heard := range tt.want {
			w := ask(handler(t, func(check.Request) check.Decision {
				return check.Decision{
					Status: said, Body: `{"error":"x"}`, Reason: check.StaleRevocations,
					Headers: http.Header{"Content-Type": {"application/json"}, "Www-Authenticate": {"Bearer"}, "Retry-After": {"1"}, "Content-Length": {"999"}},
					Result:  policy.Result{ResponseHeadersToAdd: http.Header{"X-More": {"1"}, "X-Bad": {"a\nb"}}},
				}
			}), arrived(t, tt.question))
			got := w.Result()
			if got.StatusCode != heard {
				t.Errorf("%d is heard as %d, want %d, in %s", said, got.StatusCode, heard, tt.question)
			}
			for name, want := range map[string]string{"Www-Authenticate": "Bearer", "Retry-After": "1", "Content-Type": "application/json", "X-More": "1", "X-Bad": "", "Content-Length": ""} {
				if v := got.Header.Get(name); v != want {
					t.Errorf("%s = %q, want %q", name, v, want)
				}
			}
			if w.Body.String() != `{"error":"x"}` {
				t.Errorf("body = %q", w.Body)
			}
			meant := map[int]string{0: "403", 200: "403", 204: "403", 302: "302", 400: "400", 401: "401", 403: "403", 429: "429", 500: "500", 503: "503"}[said]
			inHeader := ""
			if tt.question != goodNGINX {
				meant = ""
			} else {
				inHeader = `{"error":"x"}`
			}
			if v := got.Header.Get(refusalStatus); v != meant {
				t.Errorf("%d: refusal status = %q, want %q", said, v, meant)
			}
			if v := got.Header.Get(refusalBody); v != inHeader {
				t.Errorf("%d: refusal body = %q, want %q", said, v, inHeader)
			}
			if v := got.Header.Get(decisionPrefix + "Reason"); (v != "") != (tt.question == goodNGINX) {
				t.Errorf("reason = %q", v)
			}
		}
	}
}

func TestABodyThatFitsNoHeaderStaysOut(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"a\nb", strings.Repeat("x", maxRefusalBody+1)} {
		w := ask(handler(t, func(check.Request) check.Decision {
			return check.Decision{Status: 403, Body: body, Headers: http.Header{refusalBody: {"forged"}}}
		}), arrived(t, goodNGINX))
		if v, there := w.Result().Header[refusalBody]; there {
			t.Errorf("header = %q", v)
		}
	}
}

func TestAllowCarriesWhatThePolicySaid(t *testing.T) {
	t.Parallel()
	said := check.Decision{
		Allowed: true, Reason: check.Allowed, ID: "d1", Route: "/x", Policy: "p", PolicyRevision: "abc", RevocationRevision: 7,
		Headers: http.Header{"X-A": {"1", "2"}, "X-Both": {"up"}, "X-Empty": {""}, "Connection": {"close"}, "X-Tegata-Decision-Subject": {"forged"}, "X-Tegata-Decision-Own": {"forged"}},
		Token:   &verify.Token{Scopes: []string{"a", "b"}, Revocation: revocation.Token{Issuer: "iss", Subject: "sub\n", Client: "cl"}},
		Result: policy.Result{
			RequestHeadersToRemove: []string{"X-B", "x-c"},
			ResponseHeadersToAdd:   http.Header{"X-Back": {"3"}, "X-Both": {"down"}},
		},
	}
	all := http.Header{
		"X-A": {"1, 2"}, "X-Both": {"up"}, "X-Empty": {""}, "X-Back": {"3"}, "X-Envoy-Auth-Headers-To-Remove": {"x-b, x-c"},
		"X-Tegata-Decision-Id": {"d1"}, "X-Tegata-Decision-Reason": {"allowed"}, "X-Tegata-Decision-Route": {"/x"},
		"X-Tegata-Decision-Policy": {"p"}, "X-Tegata-Decision-Policy-Revision": {"abc"}, "X-Tegata-Decision-Revocation-Revision": {"7"},
		"X-Tegata-Decision-Issuer": {"iss"}, "X-Tegata-Decision-Client": {"cl"}, "X-Tegata-Decision-Scopes": {"a b"},
	}
	without := func(names ...string) http.Header {
		h := all.Clone()
		for _, n := range names {
			delete(h, n)
		}
		return h
	}
	for question, want := range map[string]http.Header{
		goodEnvoy:   all,
		goodNGINX:   without("X-Envoy-Auth-Headers-To-Remove"),
		goodTraefik: without("X-Envoy-Auth-Headers-To-Remove", "X-Back"),
	} {
		w := ask(handler(t, func(check.Request) check.Decision { return said }), arrived(t, question))
		got := w.Result().Header
		delete(got, "Content-Type")
		if d := cmp.Diff(want, got); d != "" || w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("%d to %s (-want +got):\n%s", w.Code, question, d)
		}
	}
}

// TestAnAssertionThatCannotBeSentIsNoAllow: the upstream would believe the
// client's own header in its place.
func TestAnAssertionThatCannotBeSentIsNoAllow(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]check.Decision{
		"a value with a line break": {Allowed: true, Headers: http.Header{"X-User": {"a\r\nX-Admin: 1"}}},
		"a value that is trimmed":   {Allowed: true, Headers: http.Header{"X-User": {" a"}}},
		"a name that is none":       {Allowed: true, Headers: http.Header{"X User": {"a"}}},
		"a removal that is none":    {Allowed: true, Result: policy.Result{RequestHeadersToRemove: []string{"x-a,x-b"}}},
	} {
		for _, question := range []string{goodEnvoy, goodNGINX, goodTraefik} {
			if w := ask(handler(t, func(check.Request) check.Decision { return d }), arrived(t, question)); w.Code != 403 {
				t.Errorf("%s: answered %d to %s", name, w.Code, question)
			}
		}
	}
}

func TestAPanicIsARefusal(t *testing.T) {
	t.Parallel()
	for _, question := range []string{goodEnvoy, goodNGINX, goodTraefik} {
		if w := ask(handler(t, func(check.Request) check.Decision { panic("bug") }), arrived(t, question)); w.Code != 403 {
			t.Errorf("answered %d", w.Code)
		}
	}
}

func TestNewWantsAChecker(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}); err == nil {
		t.Error("it does without")
	}
}
