package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// WatchScope is the scope that lets a client watch revocations.
const WatchScope = "revocation:watch"

// Headers of an answer to a revocation or a logout.
const (
	// HeaderRevision is the revision that the revocation was committed as.
	HeaderRevision = "Tegata-Revocation-Revision"
	// HeaderApplied is how many watchers have it in force.
	HeaderApplied = "Tegata-Revocation-Applied"
	// HeaderExpired is how many others trust nothing any more; absent if none.
	HeaderExpired = "Tegata-Revocation-Expired"
	// HeaderPending is how many watchers had not yet applied it when the wait
	// ended; absent if all had. Each stops trusting within one lease.
	HeaderPending = "Tegata-Revocation-Pending"
	// HeaderUnbounded is how many watchers have no lease and go on accepting
	// by their configuration; absent if none.
	HeaderUnbounded = "Tegata-Revocation-Unbounded"
)

// RegisterWatch adds the revocation stream to a gRPC server. The server's
// transport is the caller's: TLS with client certificates verified if given,
// or plaintext on loopback.
func (i *Issuer) RegisterWatch(s grpc.ServiceRegistrar) { i.upstream.Register(s) }

// Revocations says who follows the revocations and how far each is, for
// operators: it names every enforcement point.
func (i *Issuer) Revocations() watch.Report { return i.upstream.Report() }

// revoked waits, for as long as the caller prefers (RFC 7240) or else as
// configured, until the watchers have applied a committed revocation, and
// states the outcome. It is what revoke and logout call between commit and
// answer.
func (i *Issuer) revoked(w http.ResponseWriter, req *http.Request, rev revocation.Revision, why revocation.Reason) revocation.Outcome {
	i.metrics.revoke(why)
	wait, applied := revokeWait(oauth.ParsePrefer(req.Header), i.c.RevokeWait)
	if applied != "" {
		w.Header().Add("Preference-Applied", applied)
	}
	// A server's bound for writing an answer may be below that of a lease.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + writeAfterWait))
	ctx, cancel := context.WithTimeout(req.Context(), wait)
	defer cancel()
	outcome, err := i.upstream.Await(ctx, rev)
	if err != nil && wait > 0 {
		i.metrics.pending.Inc()
		i.c.Logger.WarnContext(ctx, "revocation not applied everywhere yet", "revision", rev, "watchers", outcome.Pending, "err", err)
	}
	state(w.Header(), outcome)
	return outcome
}

const (
	// maxRevokeWait is the longest that a caller can wait, and with it the
	// whole wait: no lease is longer.
	maxRevokeWait  = 10 * time.Minute
	writeAfterWait = 15 * time.Second
)

// revokeWait is how long to wait, and which preference that follows. RFC 7240
// §4.3: respond-async and wait together mean to wait that long and then answer
// in any case, as it is done here anyway.
func revokeWait(p oauth.Preferences, configured time.Duration) (wait time.Duration, applied string) {
	switch {
	case p.HasWait:
		wait = min(p.Wait, maxRevokeWait)
		return wait, fmt.Sprintf("wait=%d", wait/time.Second)
	case p.Async:
		return 0, "respond-async"
	default:
		return max(configured, 0), ""
	}
}

// state writes an outcome's numbers: names are no header's business.
func state(h http.Header, o revocation.Outcome) {
	h.Set(HeaderRevision, strconv.FormatUint(uint64(o.Revision), 10))
	h.Set(HeaderApplied, strconv.Itoa(o.Applied))
	for name, n := range map[string]int{HeaderExpired: o.Expired, HeaderPending: len(o.Pending), HeaderUnbounded: len(o.Unbounded)} {
		if n > 0 {
			h.Set(name, strconv.Itoa(n))
		}
	}
}

// authorizeWatch decides who may watch, and what: a client certificate on the
// list sees every realm; a client-credentials token with WatchScope sees its
// own realm and the issuers that this one speaks for, or everything if it is of
// WatchRealm.
func (i *Issuer) authorizeWatch(ctx context.Context) (watch.Identity, error) {
	if id, ok := watch.Peer(ctx, i.c.WatchPeers); ok {
		return id, nil
	}
	compact, ok := bearer(ctx)
	if !ok {
		return watch.Identity{}, status.Error(codes.Unauthenticated, "a listed client certificate or a bearer token with scope "+WatchScope+" is required")
	}
	r, read, err := i.readScoped(ctx, compact, WatchScope)
	if err != nil {
		return watch.Identity{}, err
	}
	id := watch.Identity{Name: read.Token.Client, Issuers: append(i.foreignOf(r.Name), r.Issuer)}
	if i.c.WatchRealm != "" && r.Name == i.c.WatchRealm {
		id.Issuers = nil
	}
	return id, nil
}

func bearer(ctx context.Context) (string, bool) {
	md, _ := metadata.FromIncomingContext(ctx)
	return bearerIn(md.Get("authorization"))
}

// bearerIn is the bearer token in the Authorization fields of a request.
func bearerIn(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, compact, ok := strings.Cut(values[0], " ")
	return compact, ok && strings.EqualFold(scheme, "Bearer")
}

// readScoped returns a live access token with one of the scopes, and its realm.
func (i *Issuer) readScoped(ctx context.Context, compact string, scopes ...string) (realm.Realm, token.Read, error) {
	r, err := i.realmOf(ctx, compact)
	if err != nil {
		return realm.Realm{}, token.Read{}, err
	}
	read, err := i.tokens.Read(ctx, r, compact)
	if err != nil && !errors.Is(err, token.ErrInvalid) {
		i.c.Logger.ErrorContext(ctx, "token not read", "err", err)
		return realm.Realm{}, token.Read{}, errUnchecked
	}
	if err != nil || read.Kind != token.Access || read.Expired {
		return realm.Realm{}, token.Read{}, errBadToken
	}
	has := strings.Fields(read.Scope)
	if !slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(has, s) }) {
		return realm.Realm{}, token.Read{}, status.Error(codes.PermissionDenied, "token lacks scope "+strings.Join(scopes, " or "))
	}
	err = i.sessions.Alive(ctx, session.Subject{Realm: r, Token: read.Token})
	var dead *session.Dead
	if errors.As(err, &dead) {
		return realm.Realm{}, token.Read{}, errBadToken
	}
	if err != nil {
		i.c.Logger.ErrorContext(ctx, "token not checked", "err", err)
		return realm.Realm{}, token.Read{}, errUnchecked
	}
	return r, read, nil
}

// What a watcher is told; why a token is bad is not said.
var (
	errBadToken  = status.Error(codes.Unauthenticated, "token is not valid here")
	errUnchecked = status.Error(codes.Unavailable, "token could not be checked")
)

// realmOf is the realm that a token says it is of. Nothing is believed yet:
// the realm's keys decide.
func (i *Issuer) realmOf(ctx context.Context, compact string) (realm.Realm, error) {
	_, payload, err := jose.Unverified(compact)
	if err != nil {
		return realm.Realm{}, errBadToken
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := jose.ReadClaims(payload, &claims); err != nil {
		return realm.Realm{}, errBadToken
	}
	name, ok := strings.CutPrefix(claims.Issuer, i.c.BaseURL+"/realms/")
	if !ok {
		return realm.Realm{}, errBadToken
	}
	r, err := i.realms.ByName(ctx, name)
	if errors.Is(err, realm.ErrNotFound) || (err == nil && !r.Enabled) {
		return realm.Realm{}, errBadToken
	}
	if err != nil {
		i.c.Logger.ErrorContext(ctx, "realm not read", "err", err)
		return realm.Realm{}, errUnchecked
	}
	return r, nil
}
