// Package authz is the assembled authorization server: listeners, health,
// readiness, drain, reload. It wires the door, the check and what the check
// stands on, and decides nothing itself.
package authz

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/verify"
)

// Config configures a Server. Issuers, Policy and Watch are required.
type Config struct {
	Realm   string          // of the WWW-Authenticate challenge
	Issuers []verify.Issuer // whose tokens are accepted
	Policy  policy.Config   // Dir or FS, Entry, Deadline; Logger and Metrics are filled in here

	Watch        grpc.ClientConnInterface // the upstream of revocations; made with watch.DialOptions
	WatchNode    string                   // our name, as operators of the upstream see it
	WatchIssuers []string                 // whose revocations are wanted; empty means all
	OnStale      check.OnStale            // default Deny

	TLS   *tls.Config   // of the gRPC listener; nil means plaintext
	Drain time.Duration // between not being ready and closing the listener, at the end; default 5 s

	HTTP    *http.Client // fetches keys; default: 5 s timeout
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

// Server is an assembled authorization server.
type Server struct{}

// New checks the configuration and loads the policy, the first load of which
// must succeed. It does not wait for keys or revocations.
func New(ctx context.Context, c Config) (*Server, error) { panic("unbuilt") }

// Run serves ext_authz, gRPC health and reflection on l, follows revocations
// and keeps keys fresh until ctx ends; then it drains and returns when the last
// of its goroutines is gone. Until Ready it refuses with 503.
func (s *Server) Run(ctx context.Context, l net.Listener) error { panic("unbuilt") }

// Ready is nil when keys, policy and a leased set of revocations are there;
// else it says what is missing.
func (s *Server) Ready() error { panic("unbuilt") }
