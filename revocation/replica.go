package revocation

import "time"

// Replica is one of several upstreams that share a store, as it says itself in
// the store. Nobody's clock is compared with another's: what counts is that
// Beat changes, and each reader times that by its own clock.
type Replica struct {
	ID    string // random, of one run of one process
	Name  string // for operators
	Beat  uint64 // rises each time it writes
	Lease time.Duration

	// Epoch and Acked say that nobody to whom it grants leases trusts a state
	// older than Acked.
	Epoch Epoch
	Acked Revision

	// Below is how far its head, Below.Revision, has reached below it.
	Below Outcome
}
