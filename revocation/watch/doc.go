// Package watch carries revocations from a durable log to those who enforce
// them, and says at each moment how far they may be relied on. It is both ends
// of tegata.revocation.v1 (see revocation.proto for the words on the wire). It
// knows nothing of SQL, tokens, HTTP or policies.
//
// # The promise
//
// When Upstream.Await has answered with nobody Pending, every Watcher
// either has the revocation in its Set, with no decision running on an older
// state, or has stopped trusting its Set. Without an answer, the same holds
// one lease after the commit. Neither needs synchronised clocks.
//
// # Watcher: states
//
//	             first SnapshotEnd            lease ends by own clock
//	Unknown ────────────────────► Stale ◄──────────────────────── Fresh
//	                                └────────────────────────────────►
//	                                  Lease whose revision is applied
//
// Unknown: nothing is known to be alive; the enforcement point always refuses.
// Fresh: the Set may be relied on. Stale: it may not; what happens then is
// configured at the enforcement point (deny, introspect, serve). A lost stream
// does not change the state: the lease does, and it runs on.
//
// # Why trust ends when it ends
//
//   - A lease counts from before the watcher sent its Renew, on the watcher's
//     monotonic clock; the upstream counts the same duration from when it
//     received that Renew, which is later. The watcher takes 1 % off for clocks
//     that run at different rates. So the watcher always stops first.
//   - A monotonic clock stands still while a machine is suspended, so a lease
//     ends by the wall clock too, whichever comes first. A wall clock that is
//     stepped can thus only end trust early.
//   - The upstream takes off the age of its last successful look at the log, by
//     both clocks again: an upstream that cannot read the log lets all leases
//     run out, and no commit it has not seen can be outlived by a lease of more
//     than its full duration.
//   - A lease is granted only when the watcher has acknowledged the head of
//     the moment its Renew came in, and after everything up to the present
//     head has been sent; it names that head, and is good only for a watcher
//     that has applied it and has no decision running on anything older: else
//     one that began without a lease could read of this one. A watcher that is
//     behind has no lease.
//   - Revisions of two epochs do not compare: what is still said on a stream of
//     the epoch before does not count, and among replicas a new epoch is as a
//     start, since the restored store may lack the row of one that gave leases.
//   - An upstream that has just started does not know the leases of the run
//     before; Await waits one lease for them (UpstreamConfig.NewStore).
//   - A watcher that reconnects is the same member of the ledger by its
//     authenticated name and its random instance; if not the same, the lease
//     of the stream that is gone stays on the books until it ends.
//
// # Replicas
//
// Upstreams that share a store do the same among each other (Replicas, peers):
// each writes a row that says what nobody below it trusts anything older than,
// and relies on it for a lease from before it began to write; the others count
// from when they have read it. No lease is granted beyond one's own row, nor
// before the log was read once more after a row that came late. Await asks for
// the rows after the commit: a replica that is not among them yet reads the log
// after it has written its own, and finds the commit there.
//
// # Relays
//
// A Relay is a Watcher above and an Upstream below, over what it holds. Its
// leases end when its own does, at the latest; it acknowledges what all below
// have acknowledged, or can no longer trust. So each level gives the level
// above the promise that it is given, and Upstream.Await at the root speaks for
// the whole tree, within one lease whatever the depth.
//
// A watcher that changes from one upstream to another is in the books of both:
// the one it left waits for the lease it granted, or an acknowledgement, and
// the one it came to for what it grants from then on. It resumes if both are of
// one epoch and see the same issuers, else it starts over.
//
// A decision counts from Set.Begin and reads Trust after it. One that is still
// running when its lease ends may be answered after the lease: enforcement
// points bound decisions with a deadline far below the lease.
//
// # Observers
//
// An Observer hears what a watcher hears and lets no token pass. It says so in
// Open and is in no ledger: nobody waits for it and no outcome counts it. It
// never asks for a lease, so that even an upstream that does not know the word
// has nothing to wait for.
//
// # What is sent
//
// One ring of encoded deltas holds the newest part of the log. Each stream is
// a cursor into it and no queue: a watcher that is slow gets what it missed
// in one message, and one that has fallen off the ring is read for from the
// log, page by page, at its own pace. Resuming from any revision of an epoch
// is sound, because what has left the log could match no living token. Only
// an unknown epoch means a snapshot. Until a snapshot is whole the old Set
// stays in force.
//
// Each delta names the revision before it. A hole, a step back, a record of
// unknown kind or anything else out of place ends the stream, and the watcher
// resumes from what it applied. It never skips.
//
// # Who owns what
//
//	Upstream.Run        tails the Source into the ring; owns every call's
//	                    goroutines and returns when the last is gone
//	Upstream.serve      one writer (the call itself) and one reader per stream
//	ledger              acknowledgements and lease ends, under Upstream.mu
//	Watcher.Run         one stream at a time: receiver, sender, acknowledger
//	                    and the loop, which alone touches the follower
//	Upstream.replicate  writes our row and reads the others'
//	Relay.Run           a Watcher and an Upstream; Relay.acknowledge is the
//	                    watcher's acknowledger
//	relayLog            what a relay holds, under its own mutex
//	Observer.Run        one stream at a time, a receiver and the loop
//	follower            the watcher's state machine, pure
//	stream, ring        the upstream's state machine, pure
//	server.go, client.go all that knows gRPC
package watch
