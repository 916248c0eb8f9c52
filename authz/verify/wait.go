package verify

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// waits runs what may wait for an issuer, beside the request that needs it. A
// refusal that comes after the caller's deadline is no refusal: Envoy has
// counted a failure by then, and may have let the request pass. So the request
// is answered in time, and what it began goes on for the next one.
type waits struct {
	mu    sync.Mutex // guards ended, and that nothing begins after it
	ended bool
	work  sync.WaitGroup
}

// begin is false once the owner of all of it waits for the end, or did.
func (w *waits) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return false
	}
	w.work.Add(1)
	return true
}

// end returns when all that was begun is done; it is bounded by the timeouts
// of what is waited for.
func (w *waits) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.work.Wait()
}

// outcome is what came of some work.
type outcome struct {
	entry *entry
	err   error
	panic any
}

// do returns what ask returns, or ErrUnavailable before ctx's deadline.
func (w *waits) do(ctx context.Context, ask func(context.Context) (*entry, error)) (*entry, error) {
	ctx, cancel := inTime(ctx)
	defer cancel()
	if !w.begin() {
		return ask(ctx)
	}
	done := make(chan outcome, 1)
	go func() {
		defer w.work.Done()
		var o outcome
		defer func() { // a bug costs this request, as it would without the goroutine
			o.panic = recover()
			done <- o
		}()
		o.entry, o.err = ask(ctx)
	}()
	select {
	case o := <-done:
		if o.panic != nil {
			panic(o.panic)
		}
		return o.entry, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: no answer in time", ErrUnavailable)
	}
}

// inTime leaves a fifth of the time until ctx's deadline, if it has one, for
// the answer and its way back.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)*4/5)
}
