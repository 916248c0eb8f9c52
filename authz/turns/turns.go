// Package turns bounds how much work that costs a processor is done at once:
// signatures checked, policies evaluated. It must not know what the work is.
//
// The idea: who does not get a turn soon is told so while there is still time
// to try elsewhere, in place of a queue that makes everybody late. What costs
// next to nothing takes no turn, and so goes on under any load.
package turns

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// ErrNone means that no turn came in time.
var ErrNone = errors.New("too much work under way")

// Turns are a number of turns. A nil *Turns has no end of them.
type Turns struct {
	taken    chan struct{}
	patience time.Duration
}

// New returns n turns (default: 32 for each processor), for each of which a
// taker waits no longer than patience (default: 20 ms).
func New(n int, patience time.Duration) *Turns {
	if n <= 0 {
		n = 32 * runtime.GOMAXPROCS(0)
	}
	if patience <= 0 {
		patience = 20 * time.Millisecond
	}
	return &Turns{taken: make(chan struct{}, n), patience: patience}
}

// Take waits for a turn; after nil, Give must be called. The error is ErrNone,
// also when ctx ended. Nobody may take a second one before giving the first.
func (t *Turns) Take(ctx context.Context) error {
	if t == nil {
		return nil
	}
	select {
	case t.taken <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(t.patience)
	defer timer.Stop()
	select {
	case t.taken <- struct{}{}:
		return nil
	case <-timer.C:
		return ErrNone
	case <-ctx.Done():
		return ErrNone
	}
}

// Give gives a turn back.
func (t *Turns) Give() {
	if t != nil {
		<-t.taken
	}
}
