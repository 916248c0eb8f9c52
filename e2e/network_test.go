//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// space is a network namespace: a machine, as far as the network goes. Programs
// in it see loopback and their own links, and no others.
type space struct{ name string }

var spaces atomic.Int64

// newSpace makes one that is gone after the test. Where that is not allowed, the
// test is skipped, but not in CI.
func newSpace(t *testing.T, name string) space {
	t.Helper()
	s := space{fmt.Sprintf("tegata-%d-%d-%s", os.Getpid(), spaces.Add(1), name)}
	out, err := exec.Command("ip", "netns", "add", s.name).CombinedOutput()
	if err == nil {
		t.Cleanup(func() { ip(t, "netns", "del", s.name) })
		s.ip(t, "link", "set", "lo", "up")
		return s
	}
	const hint = "it takes root and iproute2"
	if os.Getenv("CI") != "" {
		t.Fatalf("no network namespaces: %v: %s (%s)", err, out, hint)
	}
	t.Skipf("no network namespaces: %v: %s (%s)", err, out, hint)
	return s
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// ip configures the inside.
func (s space) ip(t *testing.T, args ...string) {
	t.Helper()
	ip(t, append([]string{"-n", s.name}, args...)...)
}

// command is what runs a program inside; the program takes ip's place, and its
// process id.
func (s space) command(args ...string) []string {
	return append([]string{"ip", "netns", "exec", s.name}, args...)
}

// inside calls f on a thread that is in the namespace, and that ends with it.
// A socket stays where it was made.
func (s space) inside(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: nobody else may get this thread
		result <- func() error {
			file, err := os.Open(filepath.Join("/var/run/netns", s.name))
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("entering %s: %w", s.name, err)
			}
			return f()
		}()
	}()
	return <-result
}

// client is an HTTP client inside.
func (s space) client(t *testing.T, conf *tls.Config, patience time.Duration) *http.Client {
	transport := &http.Transport{
		TLSClientConfig: conf, MaxIdleConnsPerHost: 8,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = s.inside(func() error {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// serve answers everything with 200 at an address inside.
func (s space) serve(t *testing.T, address string) {
	t.Helper()
	var l net.Listener
	err := s.inside(func() (err error) { l, err = net.Listen("tcp", address); return err })
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
}

// cable joins a gateway's machine to the issuer's. Its ends have a name and an
// address each.
type cable struct {
	issuer, gateway         space
	issuerEnd, gatewayEnd   string // names of the devices
	issuerAddr, gatewayAddr string
}

// connect lays the n-th cable and a route through it to the issuer's address.
func connect(t *testing.T, n int, issuer, gateway space, address string) cable {
	t.Helper()
	c := cable{
		issuer: issuer, gateway: gateway, issuerEnd: fmt.Sprint("down", n), gatewayEnd: "uplink",
		issuerAddr: fmt.Sprintf("198.51.100.%d", 4*n+1), gatewayAddr: fmt.Sprintf("198.51.100.%d", 4*n+2),
	}
	issuer.ip(t, "link", "add", c.issuerEnd, "type", "veth", "peer", "name", c.gatewayEnd, "netns", gateway.name)
	issuer.ip(t, "addr", "add", c.issuerAddr+"/30", "dev", c.issuerEnd)
	gateway.ip(t, "addr", "add", c.gatewayAddr+"/30", "dev", c.gatewayEnd)
	issuer.ip(t, "link", "set", c.issuerEnd, "up")
	gateway.ip(t, "link", "set", c.gatewayEnd, "up")
	gateway.ip(t, "route", "add", address+"/32", "via", c.issuerAddr)
	return c
}

// nobody is the hardware address of no machine: what is sent to it is lost
// without a word, as in a network that is broken in one direction.
const nobody = "02:00:00:00:00:fe"

// cutDown loses what the issuer sends, cutUp what the gateway sends.
func (c cable) cutDown(t *testing.T) {
	c.issuer.ip(t, "neigh", "replace", c.gatewayAddr, "lladdr", nobody, "dev", c.issuerEnd, "nud", "permanent")
}

func (c cable) cutUp(t *testing.T) {
	c.gateway.ip(t, "neigh", "replace", c.issuerAddr, "lladdr", nobody, "dev", c.gatewayEnd, "nud", "permanent")
}

// mendDown and mendUp undo them.
func (c cable) mendDown(t *testing.T) {
	c.issuer.ip(t, "neigh", "del", c.gatewayAddr, "dev", c.issuerEnd)
}

func (c cable) mendUp(t *testing.T) {
	c.gateway.ip(t, "neigh", "del", c.issuerAddr, "dev", c.gatewayEnd)
}
