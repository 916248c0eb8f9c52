package issuer

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/revocation/watch"
)

// Stores are the aggregates' stores; one sqlstore.DB gives all of them.
type Stores struct {
	Realms   realm.Store
	Clients  client.Store
	Users    user.Store
	Sessions session.Store
	Keys     keys.Store
}

// Config configures an Issuer. Fields without a default are required.
type Config struct {
	// BaseURL is the public URL, scheme and host, without a trailing slash.
	// With https, cookies are Secure and HSTS is sent.
	BaseURL string
	Stores  Stores
	Seal    []byte // 32 bytes, see keys.ReadKeyFile

	Now     func() time.Time      // default time.Now
	Rand    io.Reader             // default crypto/rand.Reader
	Logger  *slog.Logger          // default: discard
	Metrics prometheus.Registerer // default: none
	HTTP    *http.Client          // fetches clients' jwks_uri; default: 5 s timeout

	// WatchSource is the log that watchers follow; one sqlstore.DB is one.
	WatchSource watch.Source
	WatchLease  time.Duration // how long a watcher may trust without renewing; default 5 s
	// WatchRealm names the realm whose tokens with scope revocation:watch see
	// the revocations of all realms; those of another realm see only its own.
	WatchRealm string
	// WatchPeers are the SPIFFE IDs and DNS names whose client certificates
	// (verified by the gRPC server's TLS) may watch all realms.
	WatchPeers []string
	// RevokeWait is how long the answer to a revocation or logout waits for
	// watchers to have applied it; default 1 s, negative for no wait.
	RevokeWait time.Duration
}

// Issuer is an assembled issuer.
type Issuer struct{}

// New checks the configuration and wires the doors.
func New(c Config) (*Issuer, error) { panic("unbuilt") }

// Handler serves /realms/… and /.well-known/oauth-authorization-server/realms/….
func (i *Issuer) Handler() http.Handler { panic("unbuilt") }

// RegisterWatch adds the revocation stream to a gRPC server. The server's
// transport is the caller's: TLS with client certificates verified if given,
// or plaintext on loopback.
func (i *Issuer) RegisterWatch(s grpc.ServiceRegistrar) { panic("unbuilt") }

// Run sweeps and serves the watch until ctx ends; it returns when the last of
// its goroutines is gone.
func (i *Issuer) Run(ctx context.Context) error { panic("unbuilt") }

// Import creates or updates a realm, its keys, clients and users from a realm
// file. Importing the same file again changes nothing; what is in the store
// but not in the file stays.
func (i *Issuer) Import(ctx context.Context, r Realm) error { panic("unbuilt") }
