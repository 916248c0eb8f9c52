package e2e

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

var client = &http.Client{
	Timeout:       10 * time.Second,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 32},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// answer is what an HTTP server said.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (a answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("%d %q", a.status, a.header.Get("WWW-Authenticate"))
}

func do(req *http.Request, err error) answer {
	if err != nil {
		return answer{err: err}
	}
	resp, err := client.Do(req)
	return read(resp, err)
}

func read(resp *http.Response, err error) answer {
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{status: resp.StatusCode, header: resp.Header, body: body, err: err}
}

// ask sends a request through the gateway; "" sends no token.
func ask(s *stack.Stack, method, path, token string) answer {
	req, err := http.NewRequest(method, s.GatewayURL+path, nil)
	if err == nil && token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return do(req, err)
}

// raw sends bytes that a Go client would not: its own spelling of path and
// header lines ("Name: value").
func raw(s *stack.Stack, method, path string, headers ...string) answer {
	return rawTo(s, "", method, path, headers...)
}

// rawTo names another host than the gateway's, if any.
func rawTo(s *stack.Stack, name, method, path string, headers ...string) answer {
	host := strings.TrimPrefix(s.GatewayURL, "http://")
	conn, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // TCP connections have deadlines
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: " + cmp.Or(name, host), "Connection: close"}, headers...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return answer{err: err}
	}
	return read(http.ReadResponse(bufio.NewReader(conn), nil))
}

// service posts a form to the issuer as the demo's service.
func service(s *stack.Stack, endpoint string, form url.Values) answer {
	req, err := http.NewRequest(http.MethodPost, s.RealmURL+"/protocol/openid-connect/"+endpoint, strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(stack.ServiceID, stack.ServiceSecret)
	}
	return do(req, err)
}

// mint gets a client credentials token.
func mint(s *stack.Stack, scope string) (string, error) {
	a := service(s, "token", url.Values{"grant_type": {"client_credentials"}, "scope": {scope}})
	var t struct {
		AccessToken string `json:"access_token"`
	}
	if a.err != nil {
		return "", a.err
	}
	if err := json.Unmarshal(a.body, &t); err != nil || t.AccessToken == "" {
		return "", fmt.Errorf("no token: %d %s", a.status, a.body)
	}
	return t.AccessToken, nil
}

func mustMint(t *testing.T, s *stack.Stack, scope string) string {
	t.Helper()
	token, err := mint(s, scope)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func mustRevoke(t *testing.T, s *stack.Stack, token string) {
	t.Helper()
	if a := service(s, "revoke", url.Values{"token": {token}}); a.status != http.StatusOK {
		t.Fatalf("revoking: %v %s", a, a.body)
	}
}

// wantRefused checks a refusal of RFC 6750 §3: status, scheme, error code.
func wantRefused(t *testing.T, what string, a answer, status int, code string) {
	t.Helper()
	challenge := a.header.Get("WWW-Authenticate")
	bad := a.err != nil || a.status != status || !strings.HasPrefix(challenge, "Bearer")
	if code == "" {
		bad = bad || strings.Contains(challenge, "error=")
	} else {
		bad = bad || !strings.Contains(challenge, `error="`+code+`"`)
	}
	if bad {
		t.Errorf("%s: got %v, want %d with a Bearer challenge and error %q", what, a, status, code)
	}
}

func wantOK(t *testing.T, what string, a answer) {
	t.Helper()
	if a.err != nil || a.status != http.StatusOK {
		t.Errorf("%s: got %v, want 200", what, a)
	}
}

// traffic asks again and again, from several callers, until it is stopped.
type traffic struct {
	stopping atomic.Bool
	callers  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	answered *sync.Cond
	count    int
	bad      []string // at most a few
}

// startTraffic asks with ask, and keeps what right does not accept.
func startTraffic(t *testing.T, ask func() answer, right func(answer) bool) *traffic {
	t.Helper()
	const callers = 4
	tr := &traffic{}
	tr.answered = sync.NewCond(&tr.mu)
	for range callers {
		tr.callers.Go(func() {
			for !tr.stopping.Load() {
				a := ask()
				tr.note(a, right(a))
			}
		})
	}
	t.Cleanup(func() { tr.stopping.Store(true); tr.callers.Wait() })
	return tr
}

func (tr *traffic) note(a answer, right bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.count++
	if !right && len(tr.bad) < 5 {
		tr.bad = append(tr.bad, a.String())
	}
	tr.answered.Broadcast()
}

// more waits until n more requests have been answered. Requests have timeouts,
// so it ends.
func (tr *traffic) more(n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for target := tr.count + n; tr.count < target; {
		tr.answered.Wait()
	}
}

// stop ends the traffic and fails the test if an answer was wrong.
func (tr *traffic) stop(t *testing.T) {
	t.Helper()
	tr.stopping.Store(true)
	tr.callers.Wait()
	if len(tr.bad) > 0 {
		t.Errorf("of %d answers under traffic some were wrong, such as %q", tr.count, tr.bad)
	}
}

func isStatus(statuses ...int) func(answer) bool {
	return func(a answer) bool {
		for _, s := range statuses {
			if a.err == nil && a.status == s {
				return true
			}
		}
		return false
	}
}
