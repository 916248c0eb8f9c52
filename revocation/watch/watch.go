package watch

import (
	"context"
	"log/slog"
	"time"

	"github.com/tegata/tegata/revocation"
	"google.golang.org/grpc"
)

// Source is the durable log that an Upstream publishes. sqlstore satisfies it.
type Source interface {
	// Head returns the epoch and the newest committed revision.
	Head(ctx context.Context) (revocation.Epoch, revocation.Revision, error)
	// Since returns up to limit records with a revision above after, in
	// revision order, and the revision up to which the answer is complete.
	Since(ctx context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error)
	// Committed receives (without blocking the committer, newest wins) after
	// each commit that wrote records. Polling is the truth; this is a wake-up.
	Committed() <-chan struct{}
}

// Identity is an authenticated watcher.
type Identity struct {
	Name    string   // SPIFFE id, or client_id
	Issuers []string // issuers it may see; empty means all
}

// UpstreamConfig configures an Upstream.
type UpstreamConfig struct {
	Source    Source
	Authorize func(ctx context.Context) (Identity, error) // from the stream's peer and metadata; gRPC status errors
	Lease     time.Duration                               // how long a watcher may trust without renewing; default 5 s
	Now       func() time.Time
	Logger    *slog.Logger
}

// Upstream serves tegata.revocation.v1.Revocations from a Source.
type Upstream struct{}

// NewUpstream checks the configuration.
func NewUpstream(c UpstreamConfig) (*Upstream, error) { panic("unbuilt") }

// Register adds the service to a gRPC server.
func (u *Upstream) Register(s grpc.ServiceRegistrar) { panic("unbuilt") }

// Run tails the source until ctx ends, then closes all streams.
func (u *Upstream) Run(ctx context.Context) error { panic("unbuilt") }

// Pending names the watchers that had not yet applied a revision when a wait ended.
type Pending struct {
	Revision revocation.Revision
	Watchers []string
}

// Await returns when every watcher has acknowledged rev or its lease has
// ended; when ctx ends first it returns what is still pending and ctx's error.
func (u *Upstream) Await(ctx context.Context, rev revocation.Revision) (Pending, error) {
	panic("unbuilt")
}

// WatcherConfig configures a Watcher.
type WatcherConfig struct {
	Conn    grpc.ClientConnInterface
	Set     *revocation.Set
	Node    string   // name shown to operators
	OnStale string   // deny, introspect or serve: told upstream, enforced by check
	Issuers []string // wanted; empty means all
	Now     func() time.Time
	Logger  *slog.Logger
}

// Watcher follows an Upstream and keeps a Set.
type Watcher struct{}

// NewWatcher checks the configuration.
func NewWatcher(c WatcherConfig) (*Watcher, error) { panic("unbuilt") }

// Run connects, follows, reconnects with back-off until ctx ends.
func (w *Watcher) Run(ctx context.Context) error { panic("unbuilt") }

// Trust says whether the Set may be relied on now. Safe and cheap on the check path.
func (w *Watcher) Trust() revocation.Trust { panic("unbuilt") }

// Status is a snapshot for health, logs and metrics.
type Status struct {
	Trust     revocation.Trust
	Epoch     revocation.Epoch
	Revision  revocation.Revision
	LeaseEnds time.Time
	LastError string
}

// Status returns the watcher's state.
func (w *Watcher) Status() Status { panic("unbuilt") }

// Synced is closed when the first snapshot is whole.
func (w *Watcher) Synced() <-chan struct{} { panic("unbuilt") }
