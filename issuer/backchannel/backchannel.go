// Package backchannel tells clients that sessions of theirs are over (OpenID
// Connect Back-Channel Logout 1.0). It must not know why they are. Notices are
// written with a session's end; delivery sees to it that none is lost.
package backchannel

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/delivery"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
)

// Sessions keeps the notices; session.Sessions does.
type Sessions interface {
	Notices() <-chan struct{}
	TakeNotices(ctx context.Context, limit int, until time.Duration) ([]session.Notice, error)
	Delivered(ctx context.Context, n session.Notice) error
	Failed(ctx context.Context, n session.Notice) (again bool, err error)
}

// Clients finds clients; client.Clients does.
type Clients interface {
	ByClientID(ctx context.Context, r realm.Realm, clientID string) (client.Client, error)
}

// Tokens mints; token.Tokens does.
type Tokens interface {
	MintLogout(ctx context.Context, r realm.Realm, l token.Logout) (string, error)
}

var (
	_ Sessions = (*session.Sessions)(nil)
	_ Clients  = (*client.Clients)(nil)
	_ Tokens   = (*token.Tokens)(nil)
)

// Config configures what New makes. All fields are required.
type Config struct {
	Sessions Sessions
	Realms   delivery.Realms
	Clients  Clients
	Tokens   Tokens
	Claims   *claims.Maker
	HTTP     *http.Client // redirects are not followed, whatever it says
	Logger   *slog.Logger

	Told func(result delivery.Result) // called for each try, for counting
}

// New is what delivers notices.
func New(c Config) (*delivery.Courier[session.Notice], error) {
	if c.Sessions == nil || c.Clients == nil || c.Tokens == nil || c.Claims == nil || c.HTTP == nil {
		return nil, errors.New("backchannel: every field of Config is required")
	}
	return delivery.New(delivery.Config[session.Notice]{
		Mail: &mail{c: c, http: delivery.Client(c.HTTP)}, Realms: c.Realms, Logger: c.Logger, Told: c.Told,
		Round: "back-channel logout failed", Vain: "a client was not told of a logout",
	})
}

// mail is the notices, as delivery sees them.
type mail struct {
	c    Config
	http *http.Client
}

var _ delivery.Mail[session.Notice] = (*mail)(nil)

// Fresh implements delivery.Mail.
func (m *mail) Fresh() <-chan struct{} { return m.c.Sessions.Notices() }

// Take implements delivery.Mail.
func (m *mail) Take(ctx context.Context, limit int, until time.Duration) ([]session.Notice, error) {
	return m.c.Sessions.TakeNotices(ctx, limit, until)
}

// To implements delivery.Mail: a notice is for a client.
func (m *mail) To(n session.Notice) (realmID, receiver string) { return n.RealmID, n.ClientID }

// Open implements delivery.Mail.
func (m *mail) Open(_ context.Context, r realm.Realm, first session.Notice) (delivery.Receiver[session.Notice], error) {
	return delivery.Receiver[session.Notice]{
		Client:  first.ClientID,
		Deliver: func(ctx context.Context, n session.Notice) error { return m.deliver(ctx, r, n) },
	}, nil
}

// Forget implements delivery.Mail.
func (m *mail) Forget(ctx context.Context, n session.Notice) error {
	return m.c.Sessions.Delivered(ctx, n)
}

// Failed implements delivery.Mail.
func (m *mail) Failed(ctx context.Context, n session.Notice) (again bool, err error) {
	return m.c.Sessions.Failed(ctx, n)
}

// Attributes implements delivery.Mail.
func (m *mail) Attributes(n session.Notice) []any {
	return []any{"sid", n.SessionID, "tries", n.Tries + 1}
}

// deliver posts one logout token. A client that is gone, or no longer wants to
// know, has nothing to be told.
func (m *mail) deliver(ctx context.Context, r realm.Realm, n session.Notice) error {
	if r.ID == "" {
		return nil
	}
	c, err := m.c.Clients.ByClientID(ctx, r, n.ClientID)
	if errors.Is(err, client.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	to, wanted := c.BackLogout()
	if !wanted || !c.Enabled {
		return nil
	}
	l := token.Logout{ClientID: n.ClientID, Subject: m.c.Claims.Subject(r, c, n.UserID), RevokeOffline: to.RevokeOffline, Algorithm: c.IDTokenAlgorithm()}
	if to.WithSession {
		l.SessionID = n.SessionID
	}
	signed, err := m.c.Tokens.MintLogout(ctx, r, l)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	return delivery.Post(ctx, m.http, to.URL, header, strings.NewReader(url.Values{"logout_token": {signed}}.Encode())) // §2.5
}
