package revocation

import (
	"context"
	"time"
)

// Set holds the records in force, for lock-free reading. See watch for who
// fills it.
type Set struct{}

// NewSet returns an empty Set at revision 0.
func NewSet() *Set { panic("unbuilt") }

// Begin starts one decision: it pins the state that the decision is made on
// until View.End, so that Settle can wait for it. About 20 ns.
func (s *Set) Begin() View { panic("unbuilt") }

// Revision is the highest revision applied.
func (s *Set) Revision() Revision { panic("unbuilt") }

// Len is the number of records in force.
func (s *Set) Len() int { panic("unbuilt") }

// Apply adds records (any order; those of one delta) and moves the Set to revision head.
// It publishes with one pointer swap and never blocks readers.
func (s *Set) Apply(records []Record, head Revision) { panic("unbuilt") }

// Replace swaps in a whole snapshot.
func (s *Set) Replace(records []Record, head Revision) { panic("unbuilt") }

// Settle returns when every decision that began before the call has ended.
func (s *Set) Settle(ctx context.Context) error { panic("unbuilt") }

// Expire drops records whose ExpiresAt is before now; now never steps back.
func (s *Set) Expire(now time.Time) { panic("unbuilt") }

// View is one decision's pinned, consistent sight of a Set.
type View struct{}

// Revoked reports whether a record kills the token, and that record.
func (v View) Revoked(t Token) (Record, bool) { panic("unbuilt") }

// Revision is the revision the view stands at.
func (v View) Revision() Revision { panic("unbuilt") }

// End releases the view.
func (v View) End() { panic("unbuilt") }
