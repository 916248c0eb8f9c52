package check

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/revocation"
)

// TestNoCheckBegunAfterRevocationAllows runs checks of tokens, hot and cold,
// against a writer that revokes them one by one.
func TestNoCheckBegunAfterRevocationAllows(t *testing.T) {
	t.Parallel()
	const tokens, checkers = 300, 4
	b := newBench(t, "default allow := true", nil)
	for i := range tokens {
		b.known.add(fmt.Sprint(i), token(fmt.Sprint(i)))
	}
	var revoked, allowed atomic.Int64 // tokens below revoked are dead
	var wg sync.WaitGroup
	for range checkers {
		wg.Go(func() {
			for i := int64(0); i < tokens; i = revoked.Load() {
				// The last dead ones and the next to die.
				for at := max(0, i-2); at < min(i+3, tokens); at++ {
					dead := at < revoked.Load()
					d := b.check(t, get("/", fmt.Sprint("Bearer ", at)))
					if d.Allowed && dead {
						t.Errorf("token %d was allowed after its revocation", at)
					}
					if d.Allowed {
						allowed.Add(1)
					}
				}
			}
		})
	}
	for i := range tokens {
		for seen := allowed.Load(); allowed.Load() == seen; { // token i is alive: let checks come between
			runtime.Gosched()
		}
		rev := revocation.Revision(i + 1)
		b.set.Apply([]revocation.Record{record(rev, revocation.Target{Kind: revocation.KindToken, ID: fmt.Sprint("jti-", i)})}, rev)
		revoked.Store(int64(i + 1))
	}
	wg.Wait()
	if b.cached(t) == 0 {
		t.Error("no decision came from memory: the test shows nothing")
	}
}

// TestSettleWaitsForDecisionsUnderWay: whoever revoked and settled knows that
// nothing allowed on the old state is still to come.
func TestSettleWaitsForDecisionsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "default allow := true", nil)
		b.known.add("a", token("a"))
		goOn := make(chan struct{})
		r := get("/", "Bearer a").request()
		r.Input = func([]reads.Path) ([][2]*ast.Term, error) { <-goOn; return nil, nil }
		decided := make(chan Decision, 1)
		go func() { decided <- b.Check(t.Context(), r) }()
		synctest.Wait()
		b.revoke("jti-a")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.set.Settle(ctx); err == nil {
			t.Error("settled while a decision ran on the old state")
		}
		close(goOn)
		if d := <-decided; !d.Allowed {
			t.Errorf("decision = %s: it began before the revocation", d.Reason)
		}
		if err := b.set.Settle(t.Context()); err != nil {
			t.Error(err)
		}
		if d := b.Check(t.Context(), r); d.Reason != Revoked {
			t.Errorf("then: %s", d.Reason)
		}
	})
}

// TestWaitingForKeysHoldsNoRevocationUp: a key set that does not come must not
// keep every revocation from being acknowledged.
func TestWaitingForKeysHoldsNoRevocationUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "default allow := true", nil)
		b.known.add("a", token("a"))
		keys := make(chan struct{})
		b.known.waits = func() { <-keys }
		decided := make(chan Decision, 1)
		go func() { decided <- b.check(t, get("/", "Bearer a")) }()
		synctest.Wait()
		b.revoke("jti-a")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.set.Settle(ctx); err != nil {
			t.Errorf("settling: %v", err)
		}
		close(keys)
		if d := <-decided; d.Reason != Revoked {
			t.Errorf("decision = %s, want it to see what came meanwhile", d.Reason)
		}
	})
}

// revoke kills the token of one id.
func (b *bench) revoke(id string) {
	rev := b.set.Revision() + 1
	b.set.Apply([]revocation.Record{record(rev, revocation.Target{Kind: revocation.KindToken, ID: id})}, rev)
}

// TestReplacedStateIsAskedAgain: a new epoch may reuse a revision, and a token
// found alive at that number must be looked up again.
func TestReplacedStateIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := shipped(t, nil)
	b.set.Apply(nil, 5)
	mustReason(t, b, "Bearer reader", Allowed)
	b.set.Replace([]revocation.Record{record(5, revocation.Target{Kind: revocation.KindSession, ID: "sid-r"})}, 5)
	mustReason(t, b, "Bearer reader", Revoked)
	b.set.Replace(nil, 5)
	mustReason(t, b, "Bearer reader", Allowed)
}
