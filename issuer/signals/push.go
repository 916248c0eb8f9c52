package signals

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/delivery"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/stream"
	"github.com/tegata/tegata/revocation/ssf"
)

// mail is the events that are to be pushed, as delivery sees them.
type mail struct{ s *Signals }

var _ delivery.Mail[stream.Event] = mail{}

// Fresh implements delivery.Mail.
func (m mail) Fresh() <-chan struct{} { return m.s.c.Streams.Fresh() }

// Take implements delivery.Mail.
func (m mail) Take(ctx context.Context, limit int, until time.Duration) ([]stream.Event, error) {
	return m.s.c.Streams.Take(ctx, limit, until)
}

// To implements delivery.Mail: an event is for a stream.
func (m mail) To(e stream.Event) (realmID, receiver string) { return e.RealmID, e.StreamID }

// Open implements delivery.Mail.
func (m mail) Open(ctx context.Context, r realm.Realm, first stream.Event) (to delivery.Receiver[stream.Event], err error) {
	st, err := m.s.c.Streams.ByID(ctx, first.StreamID)
	if errors.Is(err, stream.ErrNotFound) {
		return to, nil
	}
	if err != nil {
		return to, err
	}
	return delivery.Receiver[stream.Event]{
		Client:  st.ClientID,
		Deliver: func(ctx context.Context, e stream.Event) error { return m.s.push(ctx, r, st, e) },
	}, nil
}

// Forget implements delivery.Mail.
func (m mail) Forget(ctx context.Context, e stream.Event) error {
	return m.s.c.Streams.Forget(ctx, e.StreamID, e.ID)
}

// Failed implements delivery.Mail.
func (m mail) Failed(ctx context.Context, e stream.Event) (again bool, err error) {
	return m.s.c.Streams.Failed(ctx, e)
}

// Attributes implements delivery.Mail.
func (m mail) Attributes(e stream.Event) []any {
	return []any{"event", e.Event.Type, "jti", e.ID, "tries", e.Tries + 1}
}

// push posts one SET (RFC 8935 §2.1). A client that is gone has nothing to be
// told, nor has one of a realm that is.
func (s *Signals) push(ctx context.Context, r realm.Realm, st stream.Stream, e stream.Event) error {
	if r.ID == "" {
		return &delivery.Refused{Why: "its realm is gone"}
	}
	c, err := s.c.Clients.ByClientID(ctx, r, st.ClientID)
	if errors.Is(err, client.ErrNotFound) || err == nil && !c.Enabled {
		return &delivery.Refused{Why: "its client is gone or disabled"}
	}
	if err != nil {
		return err
	}
	signed, err := s.sign(ctx, r, st, e)
	if err != nil {
		return err
	}
	authorization, err := s.c.Streams.Authorization(st)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/" + ssf.Type}, "Accept": {"application/json"}}
	if authorization != "" {
		header.Set("Authorization", authorization)
	}
	return delivery.Post(ctx, s.http, st.URL, header, strings.NewReader(signed))
}
