// Package receiver hears from other issuers that sessions and tokens of theirs
// are over, and writes it into our log, so that the gateways that follow it
// refuse those tokens at once. It must not know what those issuers know of
// people, nor have any session of ours ended by them.
//
//	Back-Channel Logout 1.0      POST /receivers/{name}/backchannel-logout ─┐
//	SETs by push (RFC 8935)      POST /receivers/{name}/events ─────────────┤
//	SETs by poll (RFC 8936)      Run asks ──────────────────────────────────┼─► Sessions.RevokeForeign ─► log
//	an operator's own call       POST /receivers/{name}/revocations ────────┘
//
// What is signed is verified with the other issuer's keys before it is
// believed. An answer of success leaves after the commit, and after the
// watchers have applied it or as long as the issuer waits for them, as at our
// own revocation endpoint.
package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/internal/jwks"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// skew is how far another issuer's clock may be ahead of ours.
const skew = time.Minute

// Sessions writes; session.Sessions does.
type Sessions interface {
	RevokeForeign(ctx context.Context, f session.Foreign) (revocation.Revision, error)
}

var _ Sessions = (*session.Sessions)(nil)

// Config configures Receivers. All fields but Sources are required.
type Config struct {
	Sources  []Source
	Sessions Sessions

	// Authorize returns the client whose bearer token, with a scope, of a realm
	// is on a request; what is wrong with it is an *oauth.Error.
	Authorize func(req *http.Request, realm, scope string) (client string, err error)
	// Revoked is called after the commit, see revoke.Config. Nobody waits for it
	// if w is nil.
	Revoked func(w http.ResponseWriter, req *http.Request, rev revocation.Revision, why revocation.Reason)
	Counted func(source string, by By, result Result) // called for each statement, for counting

	HTTP   *http.Client // fetches keys
	Now    func() time.Time
	Logger *slog.Logger
}

// By is the way in which something was said.
type By string

// The ways.
const (
	ByLogout By = "backchannel_logout"
	ByEvent  By = "event"
	ByCall   By = "call"
)

// Result is what became of it: an ssf.Outcome, or one of these.
type Result string

// The results, beside those of ssf.
const (
	Revoked  Result = "revoked"
	Refused  Result = "refused"  // it does not verify
	Repeated Result = "repeated" // it was said before
	Failed   Result = "failed"   // we could not, just now
)

// Source is an issuer that is not ours, whose tokens our gateways accept.
type Source struct {
	Name   string // in the path of its endpoints
	Issuer string // the iss of its tokens
	// JWKSURL is where its keys are; empty: found by discovery (OpenID Connect
	// Discovery 1.0 §4).
	JWKSURL    string
	Algorithms []jose.Algorithm // that it signs with; empty: jose.SigningAlgorithms
	// ClientIDs are the clients there whose logout tokens come to us, one of
	// them in the aud of each; empty: none come.
	ClientIDs []string
	// MaxTokenLifetime is the longest that an access token of it lives.
	MaxTokenLifetime time.Duration
	// SessionAsSubject is for an issuer whose access tokens have no sid, see
	// ssf.Mapping.
	SessionAsSubject bool
	// Realm is the realm of ours whose clients with Scope may revoke its tokens;
	// empty: nobody may.
	Realm  string
	Events *Events // nil: none are taken
}

// Scope is the scope of a call that revokes.
const Scope = "revocation:write"

// Events is how an issuer's security events come.
type Events struct {
	Issuer   string // the iss of the events; empty: the Source's
	JWKSURL  string // where the keys of that one are; empty: the Source's keys
	Audience string // the aud of the events
	// Authorization is the Authorization field that pushes must carry (SSF 1.0
	// §6.1.1); empty: the signature alone counts.
	Authorization  string
	EmailIsSubject bool  // see ssf.Mapping
	Poll           *Poll // nil: they are pushed
}

// Receivers are the endpoints of every Source.
type Receivers struct {
	c      Config
	byName map[string]*receiver
}

// receiver is one Source, with its keys.
type receiver struct {
	Source
	c         *Config
	keys      *jwks.Remote
	eventKeys *jwks.Remote
}

// CheckName is an error unless name can be in the path of endpoints.
func CheckName(name string) error {
	if !plainName.MatchString(name) {
		return fmt.Errorf("%q is not of a-z, 0-9 and -", name)
	}
	return nil
}

var plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// New checks the configuration; nothing is fetched yet.
func New(c Config) (*Receivers, error) {
	if c.Sessions == nil || c.Authorize == nil || c.Revoked == nil || c.Counted == nil || c.HTTP == nil || c.Now == nil || c.Logger == nil {
		return nil, errors.New("receiver: every field of Config but Sources is required")
	}
	rs := &Receivers{c: c, byName: make(map[string]*receiver)}
	for _, s := range c.Sources {
		if rs.byName[s.Name] != nil {
			return nil, fmt.Errorf("receiver: two have the name %q", s.Name)
		}
		r, err := rs.receiver(s)
		if err != nil {
			return nil, fmt.Errorf("receiver %q: %w", s.Name, err)
		}
		rs.byName[s.Name] = r
	}
	return rs, nil
}

func (rs *Receivers) receiver(s Source) (*receiver, error) {
	if err := CheckName(s.Name); err != nil {
		return nil, err
	}
	switch {
	case s.Issuer == "":
		return nil, errors.New("an issuer is required")
	case s.MaxTokenLifetime <= 0:
		return nil, errors.New("the longest lifetime of its tokens is required: forgotten earlier, a dead token would live again")
	case len(s.ClientIDs) == 0 && s.Events == nil && s.Realm == "":
		return nil, errors.New("nothing would be heard: one of ClientIDs, Events and Realm is required")
	}
	if len(s.Algorithms) == 0 {
		s.Algorithms = jose.SigningAlgorithms()
	}
	r := &receiver{Source: s, c: &rs.c}
	var err error
	if r.keys, err = rs.remote(s.Issuer, s.JWKSURL); err != nil {
		return nil, err
	}
	if s.Events != nil {
		err = r.prepareEvents(rs)
	}
	return r, err
}

// prepareEvents fills in what events have in common with the Source.
func (r *receiver) prepareEvents(rs *Receivers) (err error) {
	e := *r.Events
	r.Events, r.eventKeys = &e, r.keys
	if e.Audience == "" {
		return errors.New("the audience of events is required")
	}
	if e.Issuer == "" {
		e.Issuer = r.Issuer
	}
	if e.Issuer != r.Issuer && e.JWKSURL == "" {
		return errors.New("the keys of who sends events are required")
	}
	if e.JWKSURL != "" {
		r.eventKeys, err = rs.remote("", e.JWKSURL)
	}
	return err
}

func (rs *Receivers) remote(issuer, url string) (*jwks.Remote, error) {
	if url != "" {
		issuer = ""
	}
	return jwks.New(jwks.Config{URL: url, Issuer: issuer, HTTP: rs.c.HTTP, Now: rs.c.Now, Logger: rs.c.Logger})
}

// Run polls for the events of those that do not push them, until ctx ends.
func (rs *Receivers) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range rs.byName {
		if r.Events != nil && r.Events.Poll != nil {
			g.Go(func() error { return r.poll(ctx) })
		}
	}
	return g.Wait()
}

// Logout answers POST /receivers/{receiver}/backchannel-logout.
func (rs *Receivers) Logout(w http.ResponseWriter, req *http.Request) {
	rs.serve(w, req, func(r *receiver) bool { return len(r.ClientIDs) > 0 }, (*receiver).logout)
}

// Push answers POST /receivers/{receiver}/events.
func (rs *Receivers) Push(w http.ResponseWriter, req *http.Request) {
	rs.serve(w, req, func(r *receiver) bool { return r.Events != nil && r.Events.Poll == nil }, (*receiver).push)
}

// Call answers POST /receivers/{receiver}/revocations.
func (rs *Receivers) Call(w http.ResponseWriter, req *http.Request) {
	rs.serve(w, req, func(r *receiver) bool { return r.Realm != "" }, (*receiver).call)
}

// serve finds the receiver; one that does not hear in this way is not there.
func (rs *Receivers) serve(w http.ResponseWriter, req *http.Request, hears func(*receiver) bool, how func(*receiver, http.ResponseWriter, *http.Request)) {
	r := rs.byName[req.PathValue("receiver")]
	switch {
	case r == nil || !hears(r):
		oauth.WriteError(w, &oauth.Error{Code: "not_found", Description: "No such receiver", Status: http.StatusNotFound})
	case req.Method != http.MethodPost:
		oauth.WriteError(w, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "Method not allowed", Status: http.StatusMethodNotAllowed,
			Header: http.Header{"Allow": {http.MethodPost}},
		})
	default:
		how(r, w, req)
	}
}

// verified is the payload of a token that the issuer of keys has signed.
func (r *receiver) verified(ctx context.Context, keys *jwks.Remote, compact string, types ...string) ([]byte, error) {
	header, err := jose.ParseHeader(compact)
	if err != nil {
		return nil, err
	}
	set, _, err := keys.ForKey(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	_, payload, err := set.Verify(compact, jose.Accept{Algorithms: r.Algorithms, Types: types})
	return payload, err
}

// revoke writes what was said, and waits for the watchers, if w and req are of
// somebody who does.
func (r *receiver) revoke(ctx context.Context, ends []revocation.Record, once string, until time.Time, w http.ResponseWriter, req *http.Request) error {
	if revocation.ActorOf(ctx) == "" {
		ctx = revocation.By(ctx, revocation.ActorReceiver(r.Name))
	}
	rev, err := r.c.Sessions.RevokeForeign(ctx, session.Foreign{
		Issuer: r.Issuer, Ends: ends, Lifetime: r.MaxTokenLifetime, Once: once, OnceUntil: until,
	})
	if err != nil || rev == 0 {
		return err
	}
	r.c.Revoked(w, req, rev, ends[0].Reason)
	return nil
}

// count counts how a statement ended.
func (r *receiver) count(ctx context.Context, by By, result Result, why error) {
	r.c.Counted(r.Name, by, result)
	if why != nil {
		r.c.Logger.WarnContext(ctx, "another issuer was not heard", "receiver", r.Name, "by", by, "result", result, "err", why)
	}
}

// unavailable is an answer of "not now": it says nothing against what was sent.
func unavailable(cause error) *oauth.Error {
	return &oauth.Error{
		Code: oauth.CodeUnavailable, Description: "Try again later", Status: http.StatusServiceUnavailable,
		Header: http.Header{"Retry-After": {"1"}}, Cause: cause,
	}
}
