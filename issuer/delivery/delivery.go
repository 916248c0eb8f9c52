// Package delivery brings what is kept in the store to those it is for, over
// HTTP, until they have taken it. It must not know what it brings.
//
//	something ends ──► message ──► POST to the receiver
//	      one commit      ▲             │
//	                      └── later ◄───┘ it did not answer
//
// Messages are in the store, so that none is lost with a process: one that
// takes a message and dies leaves it to the next. A receiver may be told twice,
// and never not at all, unless it refuses or does not answer until the message
// is given up.
//
// Receivers do not wait for each other: a round tells each its own, one after
// the other, and stops at the first that it does not take.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tegata/tegata/issuer/realm"
)

const (
	every    = 5 * time.Second // for the messages of other processes, and those that are due again
	round    = 256             // messages at once
	atOnce   = 16              // receivers at once
	lease    = 2 * time.Minute // how long a round's messages are ours
	patience = 5 * time.Second // with one receiver
)

// Result is how a try ended.
type Result string

// The results.
const (
	Delivered Result = "delivered"
	Failed    Result = "failed"  // will be tried again
	GaveUp    Result = "gave_up" // refused, or too old
)

// Refused is an error that no further try will change.
type Refused struct{ Why string }

func (r *Refused) Error() string { return r.Why }

// Mail is where messages are kept, and what is particular about them.
type Mail[M any] interface {
	// Fresh is signalled when there may be new messages.
	Fresh() <-chan struct{}
	// Take takes messages that are due: they are the caller's until then.
	Take(ctx context.Context, limit int, until time.Duration) ([]M, error)
	// To says whose a message is; each receiver is told its own in their order.
	To(m M) (realmID, receiver string)
	// Open finds a receiver, by its first message. r is zero if the realm is
	// gone. A Receiver without Deliver is gone, with its messages.
	Open(ctx context.Context, r realm.Realm, first M) (Receiver[M], error)
	// Forget forgets a message that was taken or refused.
	Forget(ctx context.Context, m M) error
	// Failed puts a message off, and reports whether it will be tried again.
	Failed(ctx context.Context, m M) (again bool, err error)
	// Attributes describe a message in the log.
	Attributes(m M) []any
}

// Receiver is who is told.
type Receiver[M any] struct {
	Client string // for the log

	// Deliver delivers one message. nil, or a *Refused, is an answer for good.
	Deliver func(ctx context.Context, m M) error
}

// Realms lists realms; realm.Realms does.
type Realms interface {
	All(ctx context.Context) ([]realm.Realm, error)
}

var _ Realms = (*realm.Realms)(nil)

// Config configures a Courier. All fields are required.
type Config[M any] struct {
	Mail   Mail[M]
	Realms Realms
	Logger *slog.Logger
	Round  string // what the log says of a round that failed
	Vain   string // and of a message that was not delivered

	Told func(result Result) // called for each try, for counting
}

// Courier delivers messages.
type Courier[M any] struct{ c Config[M] }

// New checks the configuration.
func New[M any](c Config[M]) (*Courier[M], error) {
	if c.Mail == nil || c.Realms == nil || c.Logger == nil || c.Round == "" || c.Vain == "" || c.Told == nil {
		return nil, errors.New("delivery: every field of Config is required")
	}
	return &Courier[M]{c}, nil
}

// Run delivers until ctx ends. What is on its way then is left to the next
// process, or run.
func (c *Courier[M]) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			n, err := c.round(ctx)
			if err != nil && ctx.Err() == nil {
				c.c.Logger.ErrorContext(ctx, c.c.Round, "err", err)
			}
			more = err == nil && n == round
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.c.Mail.Fresh():
		case <-tick.C:
		}
	}
}

// round tries every message that is due once, up to a limit, and returns how
// many there were.
func (c *Courier[M]) round(ctx context.Context) (int, error) {
	due, err := c.c.Mail.Take(ctx, round, lease)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	all, err := c.c.Realms.All(ctx)
	if err != nil {
		return 0, err
	}
	realms := make(map[string]realm.Realm, len(all))
	for _, r := range all {
		realms[r.ID] = r
	}
	byReceiver := make(map[[2]string][]M)
	for _, m := range due {
		realmID, receiver := c.c.Mail.To(m)
		to := [2]string{realmID, receiver}
		byReceiver[to] = append(byReceiver[to], m)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for to, own := range byReceiver {
		g.Go(func() error { return c.tell(ctx, realms[to[0]], own) })
	}
	return len(due), g.Wait()
}

// tell delivers one receiver's messages. After one that failed the others wait
// too: who does not answer once is not asked a hundred times.
func (c *Courier[M]) tell(ctx context.Context, r realm.Realm, own []M) error {
	to, err := c.c.Mail.Open(ctx, r, own[0])
	if err != nil || to.Deliver == nil {
		return err
	}
	var failure error
	for _, m := range own {
		if failure == nil {
			failure = to.Deliver(ctx, m)
		}
		if err := c.settle(ctx, r, to.Client, m, failure); err != nil {
			return err
		}
		var refusal *Refused
		if errors.As(failure, &refusal) {
			failure = nil // it answers: the next may be welcome
		}
	}
	return nil
}

// settle notes how a try ended.
func (c *Courier[M]) settle(ctx context.Context, r realm.Realm, client string, m M, failure error) error {
	if failure == nil {
		c.c.Told(Delivered)
		return c.c.Mail.Forget(ctx, m)
	}
	if ctx.Err() != nil {
		return ctx.Err() // not the receiver's fault; the message falls due again
	}
	var refusal *Refused
	again := false
	var err error
	if errors.As(failure, &refusal) {
		err = c.c.Mail.Forget(ctx, m)
	} else {
		again, err = c.c.Mail.Failed(ctx, m)
	}
	result := GaveUp
	if again {
		result = Failed
	}
	c.c.Told(result)
	c.c.Logger.WarnContext(ctx, c.c.Vain, append([]any{"realm", r.Name, "client", client, "again", again, "err", failure}, c.c.Mail.Attributes(m)...)...)
	return err
}

// Client is an HTTP client for messages: it follows no redirects.
func Client(c *http.Client) *http.Client {
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// Post posts one message. An answer of 2xx took it; 400 is a considered
// refusal (Back-Channel Logout 1.0 §2.8, RFC 8935 §2.3), while others may come
// from what stands before the receiver.
func Post(ctx context.Context, client *http.Client, to string, header http.Header, body io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, body)
	if err != nil {
		return &Refused{"where it is to be posted is no URL"}
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("posting: %w", err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10)) // so that the connection can be used again
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("posting: %w", err)
	}
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusBadRequest:
		return &Refused{"it answered " + resp.Status}
	}
	return fmt.Errorf("it answered %s", resp.Status)
}
