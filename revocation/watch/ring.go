package watch

import (
	"sort"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

// ring is the newest part of the log, as messages ready to send, shared by all
// streams. It is contiguous from base to head. The Upstream's mutex guards it;
// batches never change.
type ring struct {
	base, head revocation.Revision
	batches    []*pb.WatchResponse // each a Delta
	records    int
}

// How much the ring keeps, and how much one message carries.
const (
	ringRecords = 1 << 14
	ringBatches = 1 << 12
	maxRecords  = 1000
	maxBytes    = 1 << 20
)

func (r *ring) reset(at revocation.Revision) { *r = ring{base: at, head: at} }

// push appends records, complete up to head, and drops the oldest batches
// beyond the ring's limits.
func (r *ring) push(records []*pb.Record, head revocation.Revision) {
	for _, d := range deltas(r.head, records, head) {
		r.batches = append(r.batches, d)
		r.records += len(d.GetDelta().GetRecords())
	}
	r.head = head
	drop := 0
	for drop < len(r.batches)-1 && (len(r.batches)-drop > ringBatches || r.records > ringRecords) {
		d := r.batches[drop].GetDelta()
		r.records -= len(d.GetRecords())
		r.base = revocation.Revision(d.GetRevision())
		drop++
	}
	if drop > 0 {
		r.batches = append([]*pb.WatchResponse(nil), r.batches[drop:]...)
	}
}

// after returns the next delta for a cursor, coalesced up to the size of one
// message; nil if there is none; !ok if the cursor has fallen off the ring.
func (r *ring) after(cursor revocation.Revision) (msg *pb.WatchResponse, ok bool) {
	if cursor < r.base || cursor > r.head {
		return nil, false
	}
	if cursor == r.head {
		return nil, true
	}
	i := sort.Search(len(r.batches), func(i int) bool { return r.batches[i].GetDelta().GetPrevious() >= uint64(cursor) })
	if i == len(r.batches) || r.batches[i].GetDelta().GetPrevious() != uint64(cursor) {
		return nil, false // inside a batch: the source can answer
	}
	j, size := i, 0
	for j < len(r.batches) && (j == i || size+bytesOf(r.batches[j].GetDelta().GetRecords()) <= maxBytes) {
		size += bytesOf(r.batches[j].GetDelta().GetRecords())
		j++
	}
	if j == i+1 {
		return r.batches[i], true
	}
	var records []*pb.Record
	for _, b := range r.batches[i:j] {
		records = append(records, b.GetDelta().GetRecords()...)
	}
	return delta(cursor, revocation.Revision(r.batches[j-1].GetDelta().GetRevision()), records), true
}

// committed is when the first revision above at was committed, by the clock of
// whoever did; zero if the ring does not know.
func (r *ring) committed(at revocation.Revision) time.Time {
	if at < r.base {
		return time.Time{}
	}
	i := sort.Search(len(r.batches), func(i int) bool { return r.batches[i].GetDelta().GetRevision() > uint64(at) })
	for ; i < len(r.batches); i++ {
		for _, rec := range r.batches[i].GetDelta().GetRecords() {
			if rec.GetRevision() > uint64(at) {
				return fromMillis(rec.GetCommittedAtMillis())
			}
		}
	}
	return time.Time{}
}

// deltas cuts records into messages, each naming the revision before it.
func deltas(previous revocation.Revision, records []*pb.Record, head revocation.Revision) []*pb.WatchResponse {
	var out []*pb.WatchResponse
	parts := cut(records)
	for i, part := range parts {
		upto := head
		if i < len(parts)-1 {
			upto = revocation.Revision(part[len(part)-1].GetRevision())
		}
		out = append(out, delta(previous, upto, part))
		previous = upto
	}
	if len(parts) == 0 && head > previous {
		out = append(out, delta(previous, head, nil))
	}
	return out
}

func delta(previous, upto revocation.Revision, records []*pb.Record) *pb.WatchResponse {
	return &pb.WatchResponse{Message: &pb.WatchResponse_Delta{Delta: &pb.Delta{
		Previous: uint64(previous), Revision: uint64(upto), Records: records,
	}}}
}

// cut splits records into parts that fit one message, never between two of
// the same revision.
func cut(records []*pb.Record) [][]*pb.Record {
	var parts [][]*pb.Record
	start, size := 0, 0
	for i, r := range records {
		n := bytesOf(records[i : i+1])
		full := i-start >= maxRecords || size+n > maxBytes
		if i > start && full && r.GetRevision() != records[i-1].GetRevision() {
			parts = append(parts, records[start:i])
			start, size = i, 0
		}
		size += n
	}
	if start < len(records) {
		parts = append(parts, records[start:])
	}
	return parts
}

// bytesOf estimates the size on the wire, from above.
func bytesOf(records []*pb.Record) int {
	n := 0
	for _, r := range records {
		n += 64 + len(r.GetIssuer()) + len(r.GetId()) + len(r.GetClient()) + len(r.GetReason())
	}
	return n
}

// only returns the delta with the records of the given issuers; nil means all.
func only(msg *pb.WatchResponse, issuers map[string]bool) *pb.WatchResponse {
	if issuers == nil {
		return msg
	}
	d := msg.GetDelta()
	return delta(revocation.Revision(d.GetPrevious()), revocation.Revision(d.GetRevision()), filter(d.GetRecords(), issuers))
}

func filter(records []*pb.Record, issuers map[string]bool) []*pb.Record {
	if issuers == nil {
		return records
	}
	var kept []*pb.Record
	for _, r := range records {
		if issuers[r.GetIssuer()] {
			kept = append(kept, r)
		}
	}
	return kept
}
