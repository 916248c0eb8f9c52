package verify

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefusedBeforeTheDeadline: who asks on behalf of Envoy hears in time that
// the issuer does not answer; the answer, once there, is for the next one.
func TestRefusedBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		o.tokens["opaque"] = with(map[string]any{"iat": nil, "exp": time.Now().Add(time.Hour).Unix()})
		o.hold = make(chan struct{})
		v := o.verifier(t, nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := v.Verify(ctx, "opaque"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v, want %v", err, ErrUnavailable)
		}
		if took, want := time.Since(begun), 800*time.Millisecond; took != want {
			t.Errorf("refused after %v of a second, want %v", took, want)
		}

		running, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = v.Run(running)
		}()
		stop()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("Run has ended before its last question")
		default:
		}
		close(o.hold)
		<-ended
		if _, err := v.Verify(t.Context(), "opaque"); err != nil || o.count() != 1 {
			t.Errorf("the next one: %v, and asked %d times, want the answer that came late", err, o.count())
		}
		if _, err := v.Verify(t.Context(), "other"); !errors.Is(err, ErrInactive) {
			t.Errorf("after Run has ended: got %v, want %v", err, ErrInactive)
		}
	})
}

// TestAPanicIsTheRequests: as without a goroutine, whoever serves it recovers.
func TestAPanicIsTheRequests(t *testing.T) {
	t.Parallel()
	defer func() {
		if got := recover(); got != "bug" {
			t.Errorf("recovered %v", got)
		}
	}()
	var w waits
	_, _ = w.do(t.Context(), func(context.Context) (*entry, error) { panic("bug") })
	t.Error("no panic")
}

// late is a world that answers when it is let go.
type late struct {
	*world
	hold chan struct{}
}

func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	<-l.hold
	return l.world.RoundTrip(r)
}

// TestKeysAreWaitedForUntilTheDeadline, and no longer.
func TestKeysAreWaitedForUntilTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "k1")
		l := late{w, make(chan struct{})}
		v := w.verifier(t, func(c *Config) { c.HTTP = &http.Client{Transport: l} })
		token := w.token(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Verify(ctx, token); !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			t.Errorf("got %v, the caller's time is %v; want %v before its end", err, ctx.Err(), ErrUnavailable)
		}
		close(l.hold)
		synctest.Wait()
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("with keys: %v", err)
		}
	})
}
