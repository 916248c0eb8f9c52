//go:build linux

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/stack"
	"github.com/tegata/tegata/manifests/envoy"
)

var networksFor = flag.Duration("networks", 0, "how long networks are broken; every trouble comes once at least")

// TestAppliedIsDeadAtEveryGateway: from the moment a revocation has been
// answered "applied", no gateway answers 200 to that token, whatever happens
// to networks and programs; and none refuses a token that lives. Two machines
// with Envoy and authz each, one with the issuer, and cables that break.
func TestAppliedIsDeadAtEveryGateway(t *testing.T) {
	n := startNetwork(t)
	ends := time.Now().Add(*networksFor)
	for round := 0; round < len(troubles) || time.Now().Before(ends); round++ {
		tr, g := troubles[round%len(troubles)], n.gateways[round/len(troubles)%len(n.gateways)]
		t.Run(fmt.Sprint(round, " ", tr.name), func(t *testing.T) { n.suffer(t, tr, g) })
		if t.Failed() {
			break
		}
	}
	n.stop()
	t.Logf("%d answers: %d times 200, %d times 401, %d times neither; %d with a token that was dead by then",
		n.answers.Load(), n.passed.Load(), n.refused.Load(), n.unsure.Load(), n.late.Load())
	if n.passed.Load() == 0 || n.late.Load() < 100 {
		t.Error("too little has happened to show anything")
	}
}

// trouble happens to one gateway, or to the issuer, before a revocation; after
// it has been answered it goes on for a while, and is over in the end.
type trouble struct {
	name   string
	before func(*testing.T, *network, *gateway)
	after  func(*testing.T, *network, *gateway) // once the answer is there; nil: nothing more
	end    func(*testing.T, *network, *gateway)
	cut    bool // the gateway cannot have applied it: its lease has ended
}

func nothing(*testing.T, *network, *gateway) {}

var troubles = []trouble{
	{name: "none", before: nothing, end: nothing},
	{
		name: "the gateway hears nothing", cut: true,
		before: func(t *testing.T, _ *network, g *gateway) { g.cable.cutDown(t) },
		end:    func(t *testing.T, _ *network, g *gateway) { g.cable.mendDown(t) },
	},
	{
		name:   "the gateway is not heard",
		before: func(t *testing.T, _ *network, g *gateway) { g.cable.cutUp(t) },
		end:    func(t *testing.T, _ *network, g *gateway) { g.cable.mendUp(t) },
	},
	{
		name: "the cable is broken", cut: true,
		before: func(t *testing.T, _ *network, g *gateway) { g.cable.cutUp(t); g.cable.cutDown(t) },
		end:    func(t *testing.T, _ *network, g *gateway) { g.cable.mendUp(t); g.cable.mendDown(t) },
	},
	{
		name: "all cables are broken", cut: true,
		before: func(t *testing.T, n *network, _ *gateway) {
			for _, g := range n.gateways {
				g.cable.cutUp(t)
				g.cable.cutDown(t)
			}
		},
		end: func(t *testing.T, n *network, _ *gateway) {
			for _, g := range n.gateways {
				g.cable.mendUp(t)
				g.cable.mendDown(t)
			}
		},
	},
	{
		name: "authz stands still", cut: true,
		before: func(t *testing.T, _ *network, g *gateway) { signal(t, g.authz.PID(), syscall.SIGSTOP) },
		after:  func(t *testing.T, _ *network, g *gateway) { signal(t, g.authz.PID(), syscall.SIGCONT) },
		end:    nothing,
	},
	{
		name:   "authz is killed",
		before: func(_ *testing.T, _ *network, g *gateway) { g.authz.Kill() },
		after:  func(t *testing.T, n *network, g *gateway) { n.launch(t, g.authz) },
		end:    nothing,
	},
	{
		name: "the issuer stands still after its answer", before: nothing,
		after: func(t *testing.T, n *network, _ *gateway) { signal(t, n.issuer.PID(), syscall.SIGSTOP) },
		end:   func(t *testing.T, n *network, _ *gateway) { signal(t, n.issuer.PID(), syscall.SIGCONT) },
	},
	{
		name: "the issuer is killed after its answer", before: nothing,
		after: func(t *testing.T, n *network, _ *gateway) { n.issuer.Kill(); n.launch(t, n.issuer) },
		end:   nothing,
	},
}

// suffer revokes a token in the midst of trouble.
func (n *network) suffer(t *testing.T, tr trouble, g *gateway) {
	n.recovered(t)
	h := n.mint(t)
	for _, g := range n.gateways {
		eventually(t, 20*time.Second, g.name+" lets the new token pass", func() bool { return n.ask(g, h.token).status == http.StatusOK })
	}
	tr.before(t, n, g)
	n.revoke(t, h, tr.cut)
	if tr.after != nil {
		tr.after(t, n, g)
	}
	n.more(150)
	// Whoever holds no lease by now has none of before the answer.
	time.Sleep(partitionLease / 2)
	n.more(50)
	tr.end(t, n, g)
	n.more(50)
}

// partitionLease is the bound here: short, so that it ends often.
const partitionLease = 2 * time.Second

// network is machines, programs and traffic.
type network struct {
	dir      string
	hub      space
	issuer   *stack.Process
	console  *http.Client // at the issuer's machine
	gateways []*gateway
	fail     func(format string, args ...any)

	mu     sync.Mutex // guards tokens
	tokens []*revocable

	stopping                               atomic.Bool
	callers                                sync.WaitGroup
	answers, passed, refused, unsure, late atomic.Int64
}

type gateway struct {
	name         string
	space        space
	cable        cable
	authz, envoy *stack.Process
	client       *http.Client
}

// revocable is a token, and from when on it must not pass.
type revocable struct {
	token string
	begun atomic.Bool               // to revoke it: it may be refused from now on
	dead  atomic.Pointer[time.Time] // answered applied
}

const issuerAddress = "192.0.2.1" // of TEST-NET-1 (RFC 5737)

func startNetwork(t *testing.T) *network {
	t.Helper()
	p := binaries(t)
	n := &network{dir: t.TempDir(), hub: newSpace(t, "issuer"), fail: t.Errorf}
	n.hub.ip(t, "addr", "add", issuerAddress+"/32", "dev", "lo")
	for i := range 2 {
		g := &gateway{name: fmt.Sprint("gateway-", i+1)}
		g.space = newSpace(t, g.name)
		g.cable = connect(t, i, n.hub, g.space, issuerAddress)
		g.space.serve(t, "127.0.0.1:3000")
		g.client = g.space.client(t, nil, 5*time.Second)
		n.gateways = append(n.gateways, g)
	}
	ca := newAuthority(t, "network")
	ca.serveAt(t, n.dir, net.ParseIP(issuerAddress))
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	n.console = n.hub.client(t, &tls.Config{RootCAs: roots}, 30*time.Second)

	n.write(t)
	n.issuer = n.process(t, n.hub, "issuer", "127.0.0.1:8081", p.tegata, "issuer", "--config", filepath.Join(n.dir, "issuer.yaml"))
	n.launch(t, n.issuer)
	for _, g := range n.gateways {
		g.authz = n.process(t, g.space, g.name+"-authz", "127.0.0.1:9192", p.tegata, "authz", "--config", filepath.Join(n.dir, "authz.yaml"), "--set", "authz.drain=10ms")
		g.envoy = n.process(t, g.space, g.name+"-envoy", "127.0.0.1:9901", p.envoy, "-c", filepath.Join(n.dir, "envoy.yaml"), "--disable-hot-restart", "--log-level", "warning", "--concurrency", "1")
		n.launch(t, g.authz)
		n.launch(t, g.envoy)
	}
	n.traffic(t)
	return n
}

// write writes the configuration. Every machine is alone, so that the default
// ports are free and Envoy's file is the shipped one.
func (n *network) write(t *testing.T) {
	t.Helper()
	files := map[string]string{
		"envoy.yaml": string(envoy.Bootstrap), "realm.yaml": string(stack.DemoRealm),
		"issuer.yaml": `issuer:
  base_url: https://ISSUER:8080
  listen: ISSUER:8080
  tls: { cert_file: DIR/server.crt, key_file: DIR/server.key }
  store: { sqlite: DIR/tegata.db }
  key_file: DIR/seal.key
  realms: [DIR/realm.yaml]
  watch:
    listen: ISSUER:8082
    tls: { cert_file: DIR/server.crt, key_file: DIR/server.key }
    lease: LEASE
    realm: demo
`,
		"authz.yaml": `authz:
  issuers: [{ issuer: "https://ISSUER:8080/realms/demo", audience: [orders-api] }]
  revocations:
    address: ISSUER:8082
    tls: { ca_file: DIR/clients.crt }
    token_url: https://ISSUER:8080/realms/demo/protocol/openid-connect/token
    client_id: authz
    client_secret: authz-secret-for-loopback
  on_stale: deny
`,
	}
	for name, text := range files {
		text = strings.NewReplacer("ISSUER", issuerAddress, "DIR", n.dir, "LEASE", partitionLease.String()).Replace(text)
		writeFile(t, filepath.Join(n.dir, name), text)
	}
}

func (n *network) process(t *testing.T, in space, name, management string, args ...string) *stack.Process {
	t.Helper()
	ready := "/health/ready"
	if strings.HasSuffix(name, "envoy") {
		ready = "/ready"
	}
	p := &stack.Process{
		Name: name, Args: in.command(args...), LogFile: filepath.Join(n.dir, name+".log"),
		ReadyURL: "http://" + management + ready, // inside
		Env:      []string{"SSL_CERT_FILE=" + filepath.Join(n.dir, "clients.crt")},
	}
	t.Cleanup(func() {
		p.Kill()
		if b, err := os.ReadFile(p.LogFile); err == nil && t.Failed() {
			t.Logf("end of %s.log:\n%s", name, b[max(0, len(b)-2000):])
		}
	})
	return p
}

// launch starts a program without waiting for it: n.recovered does.
func (n *network) launch(t *testing.T, p *stack.Process) {
	t.Helper()
	if err := p.Launch(); err != nil {
		t.Fatal(err)
	}
}

// recovered waits until everything works again.
func (n *network) recovered(t *testing.T) {
	t.Helper()
	h := n.mint(t)
	for _, g := range n.gateways {
		eventually(t, 30*time.Second, g.name+" works", func() bool { return n.ask(g, h.token).status == http.StatusOK })
	}
}

func (n *network) service(endpoint string, form url.Values) answer {
	req, err := http.NewRequest(http.MethodPost, "https://"+issuerAddress+":8080/realms/demo/protocol/openid-connect/"+endpoint, strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Prefer", "wait=20") // far above the lease: until all is decided
		req.SetBasicAuth(stack.ServiceID, stack.ServiceSecret)
	}
	if err != nil {
		return answer{err: err}
	}
	resp, err := n.console.Do(req)
	return read(resp, err)
}

// mint makes a token that traffic uses from now on.
func (n *network) mint(t *testing.T) *revocable {
	t.Helper()
	var got struct {
		AccessToken string `json:"access_token"`
	}
	eventually(t, 30*time.Second, "the issuer mints", func() bool {
		a := n.service("token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}})
		return a.err == nil && json.Unmarshal(a.body, &got) == nil && got.AccessToken != ""
	})
	h := &revocable{token: got.AccessToken}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tokens = append(n.tokens, h)
	return h
}

// revoke returns when the answer is there, which must be "applied".
func (n *network) revoke(t *testing.T, h *revocable, cut bool) {
	t.Helper()
	h.begun.Store(true)
	begun := time.Now()
	a := n.service("revoke", url.Values{"token": {h.token}})
	now := time.Now()
	h.dead.Store(&now)
	head := func(name string) string { return a.header.Get("Tegata-Revocation-" + name) }
	t.Logf("answered after %v: %d, applied %q, expired %q", now.Sub(begun).Round(time.Millisecond), a.status, head("Applied"), head("Expired"))
	if a.err != nil || a.status != http.StatusOK || head("Applied") == "" || head("Pending") != "" || head("Unbounded") != "" {
		t.Fatalf("revoking: %v, pending %q, unbounded %q; want it applied", a, head("Pending"), head("Unbounded"))
	}
	if cut && head("Expired") == "" {
		t.Error("nobody's lease has ended: there was no trouble")
	}
}

// ask asks one gateway.
func (n *network) ask(g *gateway, token string) answer {
	req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:8000/orders", nil)
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := g.client.Do(req)
	return read(resp, err)
}

// traffic asks every gateway without a pause until stop.
func (n *network) traffic(t *testing.T) {
	const callers = 2
	for i, g := range n.gateways {
		for c := range callers {
			rng := rand.New(rand.NewPCG(uint64(i), uint64(c)))
			n.callers.Go(func() {
				for !n.stopping.Load() {
					if h := n.pick(rng); h != nil {
						n.judge(g, h)
					} else {
						time.Sleep(time.Millisecond) // there is none yet
					}
				}
			})
		}
	}
	t.Cleanup(n.stop)
}

func (n *network) stop() {
	n.stopping.Store(true)
	n.callers.Wait()
}

// pick prefers the newest tokens; what is dead stays among them.
func (n *network) pick(rng *rand.Rand) *revocable {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case len(n.tokens) == 0:
		return nil
	case rng.IntN(3) > 0:
		return n.tokens[max(0, len(n.tokens)-1-rng.IntN(2))]
	default:
		return n.tokens[rng.IntN(len(n.tokens))]
	}
}

// judge asks, and holds the answer against what must be. What was asked before
// the revocation was answered may have either answer.
func (n *network) judge(g *gateway, h *revocable) {
	dead := h.dead.Load()
	a := n.ask(g, h.token)
	n.answers.Add(1)
	switch {
	case a.err != nil || a.status == http.StatusServiceUnavailable:
		n.unsure.Add(1)
	case a.status == http.StatusOK:
		n.passed.Add(1)
		if dead != nil {
			n.fail("%s answered 200 %v after it was answered that the revocation is applied", g.name, time.Since(*dead).Round(time.Millisecond))
		}
	case a.status == http.StatusUnauthorized:
		n.refused.Add(1)
		if !h.begun.Load() {
			n.fail("%s refused a token that lives: %v", g.name, a)
		}
	default:
		n.fail("%s: %v", g.name, a)
	}
	if dead != nil {
		n.late.Add(1)
	}
}

// more waits for so many more answers; requests have timeouts, so it ends.
func (n *network) more(count int64) {
	for target := n.answers.Load() + count; n.answers.Load() < target; {
		time.Sleep(5 * time.Millisecond)
	}
}
