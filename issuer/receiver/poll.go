package receiver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// How a poll client behaves.
const (
	atOnce       = 100              // SETs in one answer
	maxAnswer    = 4 << 20          // the largest answer that is read, in bytes
	patience     = 90 * time.Second // with a transmitter that waits for events
	pause        = time.Second      // between two answers without events
	firstBackOff = time.Second
	lastBackOff  = time.Minute
)

// Poll is where a transmitter is asked for events (RFC 8936).
type Poll struct {
	URL  string
	HTTP *http.Client // shows who we are
}

// request is the body of a poll (RFC 8936 §2.2).
type request struct {
	MaxEvents         int                    `json:"maxEvents"`
	ReturnImmediately bool                   `json:"returnImmediately"`
	Acks              []string               `json:"ack,omitempty"`
	Errors            map[string]*eventError `json:"setErrs,omitempty"`
}

// response is the answer (RFC 8936 §2.3).
type response struct {
	Sets map[string]string `json:"sets"`
	More bool              `json:"moreAvailable"`
}

// poll asks until ctx ends. A SET is acknowledged by the next request, after
// what it says was committed: who dies in between is told again.
func (r *receiver) poll(ctx context.Context) error {
	var next request
	backOff := firstBackOff
	for ctx.Err() == nil {
		answer, err := r.ask(ctx, next)
		wait := pause
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.c.Logger.WarnContext(ctx, "events not fetched", "receiver", r.Name, "url", r.Events.Poll.URL, "err", err)
			wait, backOff = backOff, min(2*backOff, lastBackOff)
		default:
			var failed bool
			next, failed = r.hearAll(ctx, answer.Sets)
			if failed {
				wait, backOff = backOff, min(2*backOff, lastBackOff)
				break
			}
			backOff = firstBackOff
			if len(answer.Sets) > 0 || answer.More {
				wait = 0 // to acknowledge, and to ask for more
			}
		}
		if err := sleep(ctx, wait); err != nil {
			return nil
		}
	}
	return nil
}

// hearAll does what SETs say, and returns what to tell of them. What failed is
// not acknowledged: it comes again.
func (r *receiver) hearAll(ctx context.Context, sets map[string]string) (next request, failed bool) {
	for jti, compact := range sets {
		err := r.hear(ctx, compact, nil, nil) // who polls does not wait for the answer
		var bad *eventError
		switch {
		case err == nil:
			next.Acks = append(next.Acks, jti)
		case errors.As(err, &bad):
			if next.Errors == nil {
				next.Errors = make(map[string]*eventError)
			}
			next.Errors[jti] = bad
		default:
			failed = true
		}
	}
	return next, failed
}

// ask sends one poll request. With something to acknowledge it does not wait
// for events.
func (r *receiver) ask(ctx context.Context, q request) (response, error) {
	q.MaxEvents, q.ReturnImmediately = atOnce, len(q.Acks)+len(q.Errors) > 0
	body, err := json.Marshal(q)
	if err != nil {
		return response{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Events.Poll.URL, bytes.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := r.Events.Poll.HTTP.Do(req)
	if err != nil {
		return response{}, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return response{}, err
	}
	return readPoll(resp.StatusCode, text)
}

// readPoll reads an answer to a poll.
func readPoll(status int, text []byte) (response, error) {
	switch {
	case status != http.StatusOK:
		return response{}, fmt.Errorf("it answered %d", status)
	case len(text) > maxAnswer:
		return response{}, errors.New("the answer is too large")
	}
	var a response
	if err := json.Unmarshal(text, &a); err != nil {
		return response{}, errors.New("the answer is not what RFC 8936 has")
	}
	if len(a.Sets) > atOnce {
		return response{}, errors.New("more events than were asked for")
	}
	return a, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
