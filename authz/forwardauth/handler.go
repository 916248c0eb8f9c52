package forwardauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/tegata/tegata/authz/check"
)

// Checker decides; *check.Checker satisfies it.
type Checker interface {
	Check(ctx context.Context, r check.Request) check.Decision
}

// Config configures a Handler. Checker is required.
type Config struct {
	Checker Checker

	// TrustedPeers are the addresses of the proxies whose word counts for what
	// the original request was. nil means this machine: 127.0.0.0/8 and ::1. A
	// peer on a Unix socket is always trusted: the socket's mode is its guard.
	TrustedPeers []netip.Prefix

	MaxBody int64            // of a body that a proxy passes on, in bytes; default 64 KiB
	Now     func() time.Time // default time.Now
	Logger  *slog.Logger
}

// Limits on what a proxy may pass on. They are above what the proxies
// themselves let in by default.
const (
	maxTarget  = 16 << 10 // of the original request target, in bytes
	maxHeaders = 96 << 10 // of all header fields together, in bytes
	maxMethod  = 64
	maxHost    = 512
)

// MaxHeaderBytes is what the http.Server of a Handler should let in.
const MaxHeaderBytes = maxHeaders + maxTarget

// Handler answers all three dialects.
type Handler struct {
	c     Config
	noise *rate.Limiter // of what is wrong with a proxy's configuration
}

var _ http.Handler = (*Handler)(nil)

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Checker == nil {
		return nil, errors.New("forwardauth: no Checker")
	}
	if c.TrustedPeers == nil {
		c.TrustedPeers = loopback()
	}
	if c.MaxBody == 0 {
		c.MaxBody = 64 << 10
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{c: c, noise: rate.NewLimiter(1, 10)}, nil
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// ServeHTTP answers one question. A panic below, a bug of ours, is a refusal:
// broken connections are failures that a proxy may forgive.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d, found := dialectOf(r.RequestURI)
	if !found { // also what an Envoy without path_prefix sends
		h.complain(r, "HTTP check under an unknown path", "want", "/auth/envoy…, /auth/nginx or /auth/traefik")
		http.Error(w, "no such door", http.StatusNotFound)
		return
	}
	defer func() {
		if p := recover(); p != nil {
			h.c.Logger.ErrorContext(r.Context(), "HTTP check panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			w.WriteHeader(http.StatusForbidden)
		}
	}()
	decision, err := h.decide(d, r)
	if err != nil {
		h.note(r, d, err)
		decision = refusal(err)
	}
	h.answer(w, r, d, &decision)
}

// decide reads the question and has it decided.
func (h *Handler) decide(d *dialect, r *http.Request) (check.Decision, error) {
	if size(r.Header) > maxHeaders {
		return check.Decision{}, errTooLarge
	}
	o, err := d.read(r, h.trusts(r))
	if err != nil {
		return check.Decision{}, err
	}
	if err := o.validate(); err != nil {
		return check.Decision{}, err
	}
	if d.bodies {
		if o.body, err = readBody(r, h.c.MaxBody); err != nil {
			return check.Decision{}, err
		}
	}
	q := &question{original: o, at: h.c.Now()}
	ctx, cancel := inTime(r, d)
	defer cancel()
	return h.c.Checker.Check(ctx, q.check()), nil
}

// inTime gives the check no longer than the proxy waits for it.
func inTime(r *http.Request, d *dialect) (context.Context, context.CancelFunc) {
	if d.patience != nil {
		if patience := d.patience(r.Header); patience > 0 {
			return context.WithTimeout(r.Context(), patience)
		}
	}
	return context.WithCancel(r.Context())
}

// size is what the header fields weigh.
func size(headers http.Header) int {
	n := 0
	for name, values := range headers {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

// trusts reports whether the peer's word counts.
func (h *Handler) trusts(r *http.Request) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	address := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(h.c.TrustedPeers, func(p netip.Prefix) bool { return p.Contains(address) })
}

// note logs why a question was not put. What only a proxy can have done is for
// the operator; the rest any client can do, and as often as it likes.
func (h *Handler) note(r *http.Request, d *dialect, err error) {
	if errors.Is(err, errUntrusted) || errors.Is(err, errMissing) {
		h.complain(r, "HTTP check refused", "dialect", d.name, "error", err)
		return
	}
	h.c.Logger.DebugContext(r.Context(), "HTTP check refused", "dialect", d.name, "error", err)
}

// complain tells the operator, at most so often, of what no well-configured
// proxy sends.
func (h *Handler) complain(r *http.Request, what string, attrs ...any) {
	level := slog.LevelDebug
	if h.noise.Allow() {
		level = slog.LevelWarn
	}
	h.c.Logger.Log(r.Context(), level, what, append(attrs, "peer", r.RemoteAddr)...)
}
