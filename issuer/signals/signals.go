// Package signals is our side of OpenID Shared Signals Framework 1.0 as a
// transmitter: clients of a realm ask for an event stream, and hear by it of
// sessions that are over and people who change. It must not know why those are,
// nor where events are kept.
//
//	streams, status, verify   a client configures its stream (§8.1)
//	poll                      it asks for events (RFC 8936)
//	Run                       or they are posted to it (RFC 8935)
//
// A client has one stream and hears of every subject of its realm: subjects
// cannot be added or removed. So scope ssf.manage is for those who may know of
// everybody's sessions; ssf.read lets a client read its stream and poll.
package signals

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/internal/jwks"
	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/delivery"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/stream"
	"github.com/tegata/tegata/issuer/token"
	"github.com/tegata/tegata/revocation/ssf"
)

// The scopes of clients.
const (
	Manage = "ssf.manage"
	Read   = "ssf.read"
)

// Streams keeps streams; stream.Streams does.
type Streams interface {
	Create(ctx context.Context, r realm.Realm, st stream.Stream, authorization string) (stream.Stream, error)
	Of(ctx context.Context, r realm.Realm, clientID string) (stream.Stream, error)
	ByID(ctx context.Context, id string) (stream.Stream, error)
	Change(ctx context.Context, r realm.Realm, clientID, id string, authorization *string, change func(*stream.Stream)) (stream.Stream, error)
	Delete(ctx context.Context, r realm.Realm, clientID, id string) error
	Verify(ctx context.Context, r realm.Realm, clientID, id, state string) error
	Authorization(st stream.Stream) (string, error)

	Queued(ctx context.Context, st stream.Stream, limit int) ([]stream.Event, error)
	Take(ctx context.Context, limit int, until time.Duration) ([]stream.Event, error)
	Forget(ctx context.Context, streamID string, ids ...string) error
	Failed(ctx context.Context, e stream.Event) (again bool, err error)
	Fresh() <-chan struct{}
}

// Clients finds clients; client.Clients does.
type Clients interface {
	ByClientID(ctx context.Context, r realm.Realm, clientID string) (client.Client, error)
}

// Tokens signs; token.Tokens does.
type Tokens interface {
	SignEvent(ctx context.Context, r realm.Realm, alg jose.Algorithm, event ssf.Token) (string, error)
}

var (
	_ Streams = (*stream.Streams)(nil)
	_ Clients = (*client.Clients)(nil)
	_ Tokens  = (*token.Tokens)(nil)
)

// Config configures Signals. All fields are required.
type Config struct {
	Streams Streams
	Clients Clients
	Realms  delivery.Realms
	Tokens  Tokens
	Claims  *claims.Maker // whom the client knows people as

	// Authorize returns the client whose bearer token, with one of the scopes, of
	// a realm is on a request; what is wrong with it is an *oauth.Error.
	Authorize func(req *http.Request, realm string, scopes ...string) (client string, err error)
	Told      func(result delivery.Result) // called for each try to push, and each event that was fetched

	HTTP   *http.Client // pushes; redirects are not followed, whatever it says
	Logger *slog.Logger
}

// Signals are the endpoints of every realm, and what pushes.
type Signals struct {
	c       Config
	http    *http.Client
	courier *delivery.Courier[stream.Event]
}

// New checks the configuration.
func New(c Config) (*Signals, error) {
	if c.Streams == nil || c.Clients == nil || c.Realms == nil || c.Tokens == nil || c.Claims == nil || c.Authorize == nil || c.Told == nil || c.HTTP == nil || c.Logger == nil {
		return nil, errors.New("signals: every field of Config is required")
	}
	s := &Signals{c: c, http: delivery.Client(c.HTTP)}
	var err error
	s.courier, err = delivery.New(delivery.Config[stream.Event]{
		Mail: mail{s}, Realms: c.Realms, Logger: c.Logger, Told: c.Told,
		Round: "pushing events failed", Vain: "an event was not pushed",
	})
	return s, err
}

// Run pushes until ctx ends.
func (s *Signals) Run(ctx context.Context) error { return s.courier.Run(ctx) }

// metadata is the transmitter's metadata (SSF 1.0 §7.1). Endpoints to add and
// remove subjects are left out: there are none.
type metadata struct {
	SpecVersion   string              `json:"spec_version"`
	Issuer        string              `json:"issuer"`
	JWKSURI       string              `json:"jwks_uri"`
	Delivery      []string            `json:"delivery_methods_supported"`
	Configuration string              `json:"configuration_endpoint"`
	Status        string              `json:"status_endpoint"`
	Verification  string              `json:"verification_endpoint"`
	Schemes       []map[string]string `json:"authorization_schemes"`
	Subjects      string              `json:"default_subjects"`
}

// Metadata answers GET …/.well-known/ssf-configuration.
func (s *Signals) Metadata(w http.ResponseWriter, _ *http.Request, r realm.Realm) {
	oauth.WriteJSON(w, http.StatusOK, metadata{
		SpecVersion: "1_0", Issuer: r.Issuer, JWKSURI: r.Issuer + "/protocol/openid-connect/certs",
		Delivery:      []string{ssf.DeliveryPush, ssf.DeliveryPoll},
		Configuration: r.Issuer + "/ssf/streams", Status: r.Issuer + "/ssf/status", Verification: r.Issuer + "/ssf/verify",
		Schemes: []map[string]string{{"spec_urn": "urn:ietf:rfc:6749"}}, Subjects: "ALL",
	})
}

// configuration is a stream as its client sees it (SSF 1.0 §8.1.1).
type configuration struct {
	ID          string         `json:"stream_id"`
	Issuer      string         `json:"iss"`
	Audience    string         `json:"aud"`
	Supported   []string       `json:"events_supported"`
	Requested   []string       `json:"events_requested"`
	Delivered   []string       `json:"events_delivered"`
	Delivery    deliveryMethod `json:"delivery"`
	Description string         `json:"description,omitempty"`
}

type deliveryMethod struct {
	Method string `json:"method"`
	URL    string `json:"endpoint_url,omitempty"`
}

func configured(r realm.Realm, st stream.Stream) configuration {
	d := deliveryMethod{st.Method, st.URL}
	if st.Method == ssf.DeliveryPoll {
		d.URL = r.Issuer + "/ssf/poll/" + st.ID
	}
	return configuration{
		ID: st.ID, Issuer: r.Issuer, Audience: st.ClientID, Supported: stream.Types(), Requested: append([]string{}, st.Requested...),
		Delivered: st.Wanted(), Delivery: d, Description: st.Description,
	}
}

// Stream answers the configuration endpoint (SSF 1.0 §8.1.1).
func (s *Signals) Stream(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	scopes := []string{Manage}
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		scopes = append(scopes, Read)
	}
	clientID, err := s.c.Authorize(req, r.Name, scopes...)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	switch req.Method {
	case http.MethodPost:
		s.create(w, req, r, clientID)
	case http.MethodPatch, http.MethodPut:
		s.change(w, req, r, clientID)
	case http.MethodDelete:
		if err := s.c.Streams.Delete(req.Context(), r, clientID, req.URL.Query().Get("stream_id")); err != nil {
			writeError(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		s.show(w, req, r, clientID)
	}
}

// show answers with the stream that is asked for, or with a list of all.
func (s *Signals) show(w http.ResponseWriter, req *http.Request, r realm.Realm, clientID string) {
	id := req.URL.Query().Get("stream_id")
	st, err := s.c.Streams.Of(req.Context(), r, clientID)
	switch {
	case id == "" && errors.Is(err, stream.ErrNotFound):
		oauth.WriteJSON(w, http.StatusOK, []configuration{})
	case err == nil && id != "" && id != st.ID:
		writeError(w, stream.ErrNotFound)
	case err != nil:
		writeError(w, err)
	case id == "":
		oauth.WriteJSON(w, http.StatusOK, []configuration{configured(r, st)})
	default:
		oauth.WriteJSON(w, http.StatusOK, configured(r, st))
	}
}

func (s *Signals) create(w http.ResponseWriter, req *http.Request, r realm.Realm, clientID string) {
	q, err := readRequest(req)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	st := stream.Stream{ClientID: clientID, Method: ssf.DeliveryPoll}
	q.apply(&st)
	st, err = s.c.Streams.Create(req.Context(), r, st, q.authorization())
	if err != nil {
		writeError(w, err)
		return
	}
	oauth.WriteJSON(w, http.StatusCreated, configured(r, st))
}

// change is PATCH, which changes what is named, and PUT, which replaces.
func (s *Signals) change(w http.ResponseWriter, req *http.Request, r realm.Realm, clientID string) {
	q, err := readRequest(req)
	if err == nil && q.ID == "" {
		err = oauth.InvalidRequest("stream_id is required")
	}
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	var authorization *string
	if q.Delivery != nil || req.Method == http.MethodPut {
		a := q.authorization()
		authorization = &a
	}
	st, err := s.c.Streams.Change(req.Context(), r, clientID, q.ID, authorization, func(st *stream.Stream) {
		if req.Method == http.MethodPut {
			st.Method, st.URL, st.Requested, st.Description = ssf.DeliveryPoll, "", nil, ""
		}
		q.apply(st)
	})
	if err != nil {
		writeError(w, err)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, configured(r, st))
}

// status is the state of a stream (SSF 1.0 §8.1.2).
type status struct {
	ID     string `json:"stream_id"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Status answers the status endpoint.
func (s *Signals) Status(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	if req.Method == http.MethodPost {
		s.setStatus(w, req, r)
		return
	}
	clientID, err := s.c.Authorize(req, r.Name, Manage, Read)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	st, err := s.c.Streams.Of(req.Context(), r, clientID)
	if query := req.URL.Query(); err == nil && (st.ID != query.Get("stream_id") || query.Has("subject")) {
		err = stream.ErrNotFound
	}
	if err != nil {
		writeError(w, err)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, status{st.ID, st.Status, st.Reason})
}

func (s *Signals) setStatus(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	clientID, err := s.c.Authorize(req, r.Name, Manage)
	var q struct {
		status
		Subject json.RawMessage `json:"subject"`
	}
	if err == nil {
		err = readBody(req, &q)
	}
	if err == nil && q.Subject != nil { // else the whole stream would stop for one
		err = oauth.InvalidRequest("the status of a subject cannot be set: streams are about all of them")
	}
	if err == nil && (q.Status != stream.Enabled && q.Status != stream.Paused && q.Status != stream.Disabled || len(q.Reason) > maxText) {
		err = oauth.InvalidRequest("status must be enabled, paused or disabled")
	}
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	st, err := s.c.Streams.Change(req.Context(), r, clientID, q.ID, nil, func(st *stream.Stream) { st.Status, st.Reason = q.Status, q.Reason })
	if err != nil {
		writeError(w, err)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, status{st.ID, st.Status, st.Reason})
}

// Verify answers the verification endpoint (SSF 1.0 §8.1.4): the event follows
// on the stream.
func (s *Signals) Verify(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	clientID, err := s.c.Authorize(req, r.Name, Manage)
	var q struct {
		ID    string `json:"stream_id"`
		State string `json:"state"`
	}
	if err == nil {
		err = readBody(req, &q)
	}
	if err == nil && len(q.State) > maxText {
		err = oauth.InvalidRequest("state is too long")
	}
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	if err := s.c.Streams.Verify(req.Context(), r, clientID, q.ID, q.State); err != nil {
		writeError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// writeError adds to oauth.WriteError what streams can say.
func writeError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, stream.ErrNotFound):
		err = &oauth.Error{Code: "not_found", Description: "No such event stream", Status: http.StatusNotFound}
	case errors.Is(err, stream.ErrExists): // SSF 1.0 §8.1.1.1
		err = &oauth.Error{Code: "conflict", Description: "The client has an event stream", Status: http.StatusConflict}
	}
	oauth.WriteError(w, err)
}

// Limits on what clients say, in bytes and in number.
const (
	maxBody  = 32 << 10
	maxText  = 1024
	maxTypes = 64
)

// streamRequest is the body of a request that makes or changes a stream. What is
// nil is not named.
type streamRequest struct {
	ID          string           `json:"stream_id"`
	Requested   *[]string        `json:"events_requested"`
	Description *string          `json:"description"`
	Delivery    *deliveryRequest `json:"delivery"`
}

type deliveryRequest struct {
	Method        string `json:"method"`
	URL           string `json:"endpoint_url"`
	Authorization string `json:"authorization_header"`
}

func (q streamRequest) authorization() string {
	if q.Delivery == nil {
		return ""
	}
	return q.Delivery.Authorization
}

func (q streamRequest) apply(st *stream.Stream) {
	if q.Requested != nil {
		st.Requested = *q.Requested
	}
	if q.Description != nil {
		st.Description = *q.Description
	}
	if q.Delivery != nil {
		st.Method, st.URL = q.Delivery.Method, ""
		if st.Method == ssf.DeliveryPush {
			st.URL = q.Delivery.URL
		}
	}
}

func readRequest(req *http.Request) (streamRequest, error) {
	var q streamRequest
	if err := readBody(req, &q); err != nil {
		return q, err
	}
	return q, q.check()
}

func (q streamRequest) check() error {
	if q.Requested != nil {
		tooLong := func(s string) bool { return len(s) > maxText }
		if len(*q.Requested) > maxTypes || slices.ContainsFunc(*q.Requested, tooLong) {
			return oauth.InvalidRequest("events_requested has too many, or too long ones")
		}
	}
	if q.Description != nil && len(*q.Description) > maxText {
		return oauth.InvalidRequest("description is too long")
	}
	d := q.Delivery
	switch {
	case d == nil || d.Method == ssf.DeliveryPoll:
		return nil
	case d.Method != ssf.DeliveryPush:
		return oauth.InvalidRequest("delivery.method must be " + ssf.DeliveryPush + " or " + ssf.DeliveryPoll)
	case len(d.URL) > 2*maxText || jwks.CheckURL(d.URL) != nil:
		return oauth.InvalidRequest("delivery.endpoint_url must be an https URL")
	case len(d.Authorization) > 4*maxText || strings.ContainsFunc(d.Authorization, func(r rune) bool { return r < ' ' || r > '~' }):
		return oauth.InvalidRequest("delivery.authorization_header cannot be a header field")
	}
	return nil
}

// readBody reads a JSON object, strictly; members that it does not know are
// left alone, as SSF 1.0 has more of them than we use.
func readBody(req *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBody+1))
	if err != nil || len(body) > maxBody {
		return oauth.InvalidRequest("The body cannot be read, or is too large")
	}
	if _, err := jose.ReadObject(body); err != nil {
		return oauth.InvalidRequest("The body must be a JSON object")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return oauth.InvalidRequest("A member of the body is of the wrong type")
	}
	return nil
}
