package signals

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/stream"
	"github.com/tegata/tegata/revocation/ssf"
)

// How events are pushed; as back-channel logout does.
const (
	every    = 5 * time.Second // for the events of other processes, and those that are due again
	round    = 256             // events at once
	atOnce   = 16              // streams at once
	lease    = 2 * time.Minute // how long a round's events are ours
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

// Run pushes until ctx ends. What is on its way then is left to the next
// process, or run.
func (s *Signals) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			n, err := s.Round(ctx)
			if err != nil && ctx.Err() == nil {
				s.c.Logger.ErrorContext(ctx, "pushing events failed", "err", err)
			}
			more = err == nil && n == round
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.c.Streams.Fresh():
		case <-tick.C:
		}
	}
}

// Round tries every event that is due to be pushed once, up to a limit, and
// returns how many there were. Streams do not wait for each other.
func (s *Signals) Round(ctx context.Context) (int, error) {
	due, err := s.c.Streams.Take(ctx, round, lease)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	all, err := s.c.Realms.All(ctx)
	if err != nil {
		return 0, err
	}
	realms := make(map[string]realm.Realm, len(all))
	for _, r := range all {
		realms[r.ID] = r
	}
	byStream := make(map[string][]stream.Event)
	for _, e := range due {
		byStream[e.StreamID] = append(byStream[e.StreamID], e)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for id, own := range byStream {
		g.Go(func() error { return s.tell(ctx, realms[own[0].RealmID], id, own) })
	}
	return len(due), g.Wait()
}

// tell pushes one stream's events, in their order. After one that failed the
// others wait too: who does not answer once is not asked a hundred times.
func (s *Signals) tell(ctx context.Context, r realm.Realm, id string, own []stream.Event) error {
	st, err := s.c.Streams.ByID(ctx, id)
	if errors.Is(err, stream.ErrNotFound) {
		return nil // gone, with its events
	}
	if err != nil {
		return err
	}
	var failure error
	for _, e := range own {
		if failure == nil {
			failure = s.push(ctx, r, st, e)
		}
		if err := s.settle(ctx, r, st, e, failure); err != nil {
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
func (s *Signals) settle(ctx context.Context, r realm.Realm, st stream.Stream, e stream.Event, failure error) error {
	if failure == nil {
		s.c.Told(Delivered)
		return s.c.Streams.Forget(ctx, st.ID, e.ID)
	}
	if ctx.Err() != nil {
		return ctx.Err() // not the receiver's fault; the event falls due again
	}
	var refusal *refused
	again := false
	var err error
	if errors.As(failure, &refusal) {
		err = s.c.Streams.Forget(ctx, st.ID, e.ID)
	} else {
		again, err = s.c.Streams.Failed(ctx, e)
	}
	result := GaveUp
	if again {
		result = Failed
	}
	s.c.Told(result)
	s.c.Logger.WarnContext(ctx, "an event was not pushed", "realm", r.Name, "client", st.ClientID, "event", e.Event.Type,
		"jti", e.ID, "tries", e.Tries+1, "again", again, "err", failure)
	return err
}

// refused is an answer that no further try will change.
type refused struct{ why string }

func (r *refused) Error() string { return r.why }

// push posts one SET (RFC 8935 §2.1). A client that is gone has nothing to be
// told, nor has one of a realm that is.
func (s *Signals) push(ctx context.Context, r realm.Realm, st stream.Stream, e stream.Event) error {
	if r.ID == "" {
		return &refused{"its realm is gone"}
	}
	c, err := s.c.Clients.ByClientID(ctx, r, st.ClientID)
	if errors.Is(err, client.ErrNotFound) || err == nil && !c.Enabled {
		return &refused{"its client is gone or disabled"}
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
	return s.post(ctx, st.URL, authorization, signed)
}

func (s *Signals) post(ctx context.Context, to, authorization, signed string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(signed))
	if err != nil {
		return &refused{"its endpoint is no URL"}
	}
	req.Header.Set("Content-Type", "application/"+ssf.Type)
	req.Header.Set("Accept", "application/json")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("pushing an event: %w", err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10)) // so that the connection can be used again
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("pushing an event: %w", err)
	}
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusBadRequest: // its considered answer, RFC 8935 §2.3
		return &refused{"it answered " + resp.Status}
	}
	return fmt.Errorf("it answered %s", resp.Status)
}
