package turns

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestATurnIsWaitedForOnlySoLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := New(1, time.Second)
		if err := turns.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := turns.Take(t.Context()); !errors.Is(err, ErrNone) || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		go func() {
			time.Sleep(time.Second / 2)
			turns.Give()
		}()
		if err := turns.Take(t.Context()); err != nil {
			t.Errorf("a turn that was given back is not there: %v", err)
		}
		turns.Give()
	})
}

func TestAWaitThatIsGivenUpTakesNoTurn(t *testing.T) {
	t.Parallel()
	turns := New(1, time.Hour)
	if err := turns.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := turns.Take(ctx); !errors.Is(err, ErrNone) {
		t.Errorf("took a turn that was not there: %v", err)
	}
	turns.Give()
	if err := turns.Take(t.Context()); err != nil {
		t.Errorf("a turn was lost: %v", err)
	}
}

func TestNoTurnsMeansNoBound(t *testing.T) {
	t.Parallel()
	var turns *Turns
	for range 3 {
		if err := turns.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	turns.Give()
}
