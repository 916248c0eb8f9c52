package signals

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tegata/tegata/issuer/delivery"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/stream"
	"github.com/tegata/tegata/revocation/ssf"
)

// How polls are answered.
const (
	atMost   = 100                    // events in one answer
	longPoll = 10 * time.Second       // how long a poll waits for events
	look     = 250 * time.Millisecond // how often it looks
	maxAcks  = 1000
)

// pollRequest is RFC 8936 §2.2.
type pollRequest struct {
	Max         *int                         `json:"maxEvents"`
	Immediately bool                         `json:"returnImmediately"`
	Acks        []string                     `json:"ack"`
	Errors      map[string]map[string]string `json:"setErrs"`
}

// pollAnswer is RFC 8936 §2.3.
type pollAnswer struct {
	Sets map[string]string `json:"sets"`
	More bool              `json:"moreAvailable,omitempty"`
}

// Poll answers a client that fetches its events (RFC 8936 §2). What it
// acknowledges is forgotten, and what it could not use too: it would not be
// better the next time.
func (s *Signals) Poll(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	ctx := req.Context()
	clientID, err := s.c.Authorize(req, r.Name, Manage, Read)
	var q pollRequest
	if err == nil {
		err = readBody(req, &q)
	}
	if err == nil && (len(q.Acks)+len(q.Errors) > maxAcks || q.Max != nil && *q.Max < 0) {
		err = oauth.InvalidRequest("maxEvents, ack or setErrs is out of bounds")
	}
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	st, err := s.c.Streams.Of(ctx, r, clientID)
	if err == nil && (st.ID != req.PathValue("stream") || st.Method != ssf.DeliveryPoll) {
		err = stream.ErrNotFound
	}
	if err == nil {
		err = s.acknowledge(ctx, r, st, q)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	answer, err := s.answer(ctx, r, st, q)
	if err != nil {
		writeError(w, err)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, answer)
}

func (s *Signals) acknowledge(ctx context.Context, r realm.Realm, st stream.Stream, q pollRequest) error {
	done := slices.Clone(q.Acks)
	for id, e := range q.Errors {
		s.c.Told(delivery.GaveUp)
		s.c.Logger.WarnContext(ctx, "a client could not use an event", "realm", r.Name, "client", st.ClientID, "jti", id, "err", e["err"])
		done = append(done, id)
	}
	for range q.Acks {
		s.c.Told(delivery.Delivered)
	}
	return s.c.Streams.Forget(ctx, st.ID, done...)
}

// answer waits for events, if the client lets it.
func (s *Signals) answer(ctx context.Context, r realm.Realm, st stream.Stream, q pollRequest) (pollAnswer, error) {
	limit := atMost
	if q.Max != nil {
		limit = min(limit, *q.Max)
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for looks := longPoll / look; ; looks-- {
		a, err := s.events(ctx, r, st, limit)
		if err != nil || len(a.Sets) > 0 || a.More || q.Immediately || limit == 0 || looks <= 0 {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-tick.C:
		}
	}
}

// events are those of a stream that is enabled.
func (s *Signals) events(ctx context.Context, r realm.Realm, st stream.Stream, limit int) (pollAnswer, error) {
	a := pollAnswer{Sets: map[string]string{}}
	if st.Status != stream.Enabled {
		return a, nil
	}
	queued, err := s.c.Streams.Queued(ctx, st, limit+1)
	if err != nil {
		return a, err
	}
	if a.More = len(queued) > limit; a.More {
		queued = queued[:limit]
	}
	for _, e := range queued {
		if a.Sets[e.ID], err = s.sign(ctx, r, st, e); err != nil {
			return a, err
		}
	}
	return a, nil
}

// sign makes a SET of an event: each time it is sent, so that its key is one
// that verifies now. Its jti and its times stay.
func (s *Signals) sign(ctx context.Context, r realm.Realm, st stream.Stream, e stream.Event) (string, error) {
	c, err := s.c.Clients.ByClientID(ctx, r, st.ClientID)
	if err != nil {
		return "", fmt.Errorf("finding a stream's client: %w", err)
	}
	e.Event.Subject = e.Event.Subject.Known(func(sub string) string { return s.c.Claims.Subject(r, c, sub) })
	return s.c.Tokens.SignEvent(ctx, r, c.IDTokenAlgorithm(), ssf.Token{
		ID: e.ID, IssuedAt: e.Created, Audience: []string{st.ClientID}, Events: []ssf.Event{e.Event},
	})
}
