package forwardauth

import (
	"bufio"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tegata/tegata/authz/check"
)

// FuzzQuestion: whatever arrives, 200 is answered only to what was put to
// check and allowed there; what is put to check is one request, as the proxy
// wrote it, and has a document; a refusal is none that a proxy could forgive.
func FuzzQuestion(f *testing.F) {
	for _, question := range []string{goodEnvoy, goodNGINX, goodTraefik} {
		question = strings.ReplaceAll(strings.TrimLeft(question, "\n"), "\n", "\r\n")
		f.Add(question+"\r\n\r\n", 503)
		f.Add(question+"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 200)
		f.Add(strings.Replace(question, "/x", "/a%2fb//..;/?x=%zz#", 1)+"\r\nAuthorization: a\r\nauthorization: b\r\n\r\n", 302)
		f.Add(strings.Replace(question, "/x", "/x", 1)+"\r\nX-Forwarded-Uri: /y\r\nX-Original-Uri: /z\r\nX-Forwarded-Proto: wss\r\n\r\n", 401)
	}
	f.Fuzz(func(t *testing.T, text string, status int) {
		for _, allowed := range []bool{true, false} {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
			if err != nil {
				return
			}
			r.RemoteAddr = "127.0.0.1:1"
			asked := false
			w := ask(handler(t, func(q check.Request) check.Decision {
				asked = true
				checkQuestion(t, r, q)
				return check.Decision{Allowed: allowed, Status: status}
			}), r)
			if (w.Code == http.StatusOK) != (asked && allowed) {
				t.Fatalf("asked: %v, allowed: %v, answered %d", asked, allowed, w.Code)
			}
			switch d, _ := dialectOf(r.RequestURI); {
			case w.Code == http.StatusOK || d == nil:
			case w.Code < 300, d == envoy && w.Code >= 500, d == nginx && w.Code != 401 && w.Code != 403:
				t.Fatalf("%s hears %d", d.name, w.Code)
			}
		}
	})
}

// checkQuestion holds what check is asked to what arrived.
func checkQuestion(t *testing.T, r *http.Request, q check.Request) {
	t.Helper()
	d, _ := dialectOf(r.RequestURI)
	method, target, host := r.Header["X-Original-Method"], r.Header["X-Original-Uri"], r.Header["X-Forwarded-Host"]
	switch d {
	case envoy:
		method, target, host = []string{r.Method}, []string{r.RequestURI[len(envoyPrefix):]}, []string{r.Host}
	case traefik:
		method, target = r.Header["X-Forwarded-Method"], r.Header["X-Forwarded-Uri"]
	}
	if len(method) != 1 || len(target) != 1 || len(host) != 1 || q.Method != method[0] || q.Path != target[0] || q.Host != host[0] {
		t.Fatalf("asked about %q %q %q, of %q %q %q", q.Method, q.Path, q.Host, method, target, host)
	}
	if q.Method == "" || q.Host == "" || q.Path[0] != '/' || !visible(q.Path) {
		t.Fatalf("asked about %q %q %q", q.Method, q.Path, q.Host)
	}
	if len(q.Authorization) != len(r.Header["Authorization"]) {
		t.Fatalf("authorization = %q", q.Authorization)
	}
	if _, err := q.Input(nil); err != nil {
		t.Fatalf("no document: %v", err)
	}
	if _, ok := q.Key(nil, []string{"attributes"}); !ok {
		t.Fatal("no key")
	}
	asked := &question{original: original{method: q.Method, target: q.Path, host: q.Host, headers: r.Header}}
	if _, err := proto.Marshal(asked.message()); err != nil {
		t.Fatalf("it could not have come by gRPC: %v", err)
	}
}

// FuzzIsResolved: a path that is let through is resolved already, for those
// who decode it and for those who do not.
func FuzzIsResolved(f *testing.F) {
	for _, seed := range []string{"/", "/a/b", "/a/../b", "/a/%2e%2E/b", "/a%2f..%2fb", "/..;x/a", `/a\..\b`, "/a/...", "/.a", "/%zz/..", "//a//b/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if !isResolved(target) {
			return
		}
		raw, _, _ := strings.Cut(target, "?")
		decoded, err := url.PathUnescape(raw)
		if err != nil {
			t.Fatalf("%q does not decode", raw)
		}
		for _, p := range []string{raw, decoded, strings.ReplaceAll(decoded, `\`, "/")} {
			p = "/" + p
			if want := strings.Join(strings.FieldsFunc(p, func(c rune) bool { return c == '/' }), "/"); path.Clean(p) != "/"+want {
				t.Fatalf("%q becomes %q", p, path.Clean(p))
			}
		}
	})
}
