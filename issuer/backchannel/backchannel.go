// Package backchannel tells clients that sessions of theirs are over (OpenID
// Connect Back-Channel Logout 1.0). It must not know why they are.
//
//	session's end ──► notice ──► POST logout_token=… to the client
//	      one commit        ▲            │
//	                        └── later ◄──┘ it did not answer
//
// Notices are in the store, so that none is lost with a process: one that
// takes a notice and dies leaves it to the next. A client may be told twice,
// and never not at all, unless it refuses or does not answer for a day.
//
// Clients do not wait for each other: a round tells each client its own, one
// after the other, and stops at the first that it does not take.
package backchannel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/token"
)

const (
	poll     = 5 * time.Second // for the notices of other processes, and those that are due again
	round    = 256             // notices at once
	atOnce   = 16              // clients at once
	lease    = 2 * time.Minute // how long a round's notices are ours
	patience = 5 * time.Second // with one client
)

// Sessions keeps the notices; session.Sessions does.
type Sessions interface {
	Notices() <-chan struct{}
	TakeNotices(ctx context.Context, limit int, until time.Duration) ([]session.Notice, error)
	Delivered(ctx context.Context, n session.Notice) error
	Failed(ctx context.Context, n session.Notice) (again bool, err error)
}

// Realms lists realms; realm.Realms does.
type Realms interface {
	All(ctx context.Context) ([]realm.Realm, error)
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
	_ Realms   = (*realm.Realms)(nil)
	_ Clients  = (*client.Clients)(nil)
	_ Tokens   = (*token.Tokens)(nil)
)

// Config configures a Messenger. All fields are required.
type Config struct {
	Sessions Sessions
	Realms   Realms
	Clients  Clients
	Tokens   Tokens
	Claims   *claims.Maker
	HTTP     *http.Client // redirects are not followed, whatever it says
	Logger   *slog.Logger

	Told func(result Result) // called for each try, for counting
}

// Result is how a try ended.
type Result string

// The results.
const (
	Delivered Result = "delivered"
	Failed    Result = "failed"  // will be tried again
	GaveUp    Result = "gave_up" // refused, or too old
)

// Messenger delivers notices.
type Messenger struct {
	c    Config
	http *http.Client
}

// New checks the configuration.
func New(c Config) (*Messenger, error) {
	if c.Sessions == nil || c.Realms == nil || c.Clients == nil || c.Tokens == nil || c.Claims == nil || c.HTTP == nil || c.Logger == nil || c.Told == nil {
		return nil, errors.New("backchannel: every field of Config is required")
	}
	own := *c.HTTP
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Messenger{c: c, http: &own}, nil
}

// Run delivers until ctx ends. What is on its way then is left to the next
// process, or run.
func (m *Messenger) Run(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			n, err := m.Round(ctx)
			if err != nil && ctx.Err() == nil {
				m.c.Logger.ErrorContext(ctx, "back-channel logout failed", "err", err)
			}
			more = err == nil && n == round
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.c.Sessions.Notices():
		case <-tick.C:
		}
	}
}

// Round tries every notice that is due once, up to a limit, and returns how
// many there were.
func (m *Messenger) Round(ctx context.Context) (int, error) {
	due, err := m.c.Sessions.TakeNotices(ctx, round, lease)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	all, err := m.c.Realms.All(ctx)
	if err != nil {
		return 0, err
	}
	realms := make(map[string]realm.Realm, len(all))
	for _, r := range all {
		realms[r.ID] = r
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, own := range byClient(due) {
		g.Go(func() error { return m.tell(ctx, realms[own[0].RealmID], own) })
	}
	return len(due), g.Wait()
}

// byClient sorts notices by whom they are for, each in the order they came.
func byClient(due []session.Notice) map[[2]string][]session.Notice {
	clients := make(map[[2]string][]session.Notice)
	for _, n := range due {
		key := [2]string{n.RealmID, n.ClientID}
		clients[key] = append(clients[key], n)
	}
	return clients
}

// tell delivers one client's notices. After one that failed the others wait
// too: who does not answer once is not asked a hundred times.
func (m *Messenger) tell(ctx context.Context, r realm.Realm, own []session.Notice) error {
	var failure error
	for _, n := range own {
		if failure == nil {
			failure = m.deliver(ctx, r, n)
		}
		if err := m.settle(ctx, r, n, failure); err != nil {
			return err
		}
		var refusal *refused
		if errors.As(failure, &refusal) {
			failure = nil // it answers: the next may be welcome
		}
	}
	return nil
}

// settle notes how a try ended.
func (m *Messenger) settle(ctx context.Context, r realm.Realm, n session.Notice, failure error) error {
	if failure == nil {
		m.c.Told(Delivered)
		return m.c.Sessions.Delivered(ctx, n)
	}
	if ctx.Err() != nil {
		return ctx.Err() // not the client's fault; the notice falls due again
	}
	var refusal *refused
	again := false
	var err error
	if errors.As(failure, &refusal) {
		err = m.c.Sessions.Delivered(ctx, n)
	} else {
		again, err = m.c.Sessions.Failed(ctx, n)
	}
	result := GaveUp
	if again {
		result = Failed
	}
	m.c.Told(result)
	m.c.Logger.WarnContext(ctx, "a client was not told of a logout", "realm", r.Name, "client", n.ClientID,
		"sid", n.SessionID, "tries", n.Tries+1, "again", again, "err", failure)
	return err
}

// refused is a client's answer that no further try will change.
type refused struct{ why string }

func (r *refused) Error() string { return r.why }

// deliver posts one logout token. A client that is gone, or no longer wants to
// know, has nothing to be told.
func (m *Messenger) deliver(ctx context.Context, r realm.Realm, n session.Notice) error {
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
	return m.post(ctx, to.URL, signed)
}

// post is Back-Channel Logout §2.5 and §2.8.
func (m *Messenger) post(ctx context.Context, to, logoutToken string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body := strings.NewReader(url.Values{"logout_token": {logoutToken}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, body)
	if err != nil {
		return &refused{"its back-channel logout URL is no URL"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := m.http.Do(req)
	if err != nil {
		return fmt.Errorf("posting a logout token: %w", err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10)) // so that the connection can be used again
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("posting a logout token: %w", err)
	}
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusBadRequest: // its considered answer, §2.8; others may come from what stands before it
		return &refused{"it answered " + resp.Status}
	}
	return fmt.Errorf("it answered %s", resp.Status)
}
