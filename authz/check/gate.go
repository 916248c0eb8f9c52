package check

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// errOverloaded means that no turn came in time.
var errOverloaded = errors.New("too many evaluations under way")

// gate bounds how many evaluations run at once. Who does not get in soon is
// refused while there is still time to try elsewhere, in place of a queue that
// makes everybody late. Remembered decisions do not pass it.
type gate struct {
	turns    chan struct{}
	patience time.Duration
}

func newGate(n int, patience time.Duration) gate {
	if n <= 0 {
		n = 32 * runtime.GOMAXPROCS(0)
	}
	if patience <= 0 {
		patience = 20 * time.Millisecond
	}
	return gate{turns: make(chan struct{}, n), patience: patience}
}

// enter waits for a turn; after nil, leave must be called.
func (g gate) enter(ctx context.Context) error {
	select {
	case g.turns <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	select {
	case g.turns <- struct{}{}:
		return nil
	case <-timer.C:
		return errOverloaded
	case <-ctx.Done():
		return errOverloaded
	}
}

func (g gate) leave() { <-g.turns }
