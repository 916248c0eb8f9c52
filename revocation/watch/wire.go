package watch

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tegata/tegata/revocation"
	pb "github.com/tegata/tegata/revocation/revocationpb"
)

// Limits on what comes over the wire.
const (
	maxName     = 256
	maxInstance = 64
	maxEpoch    = 128
	maxIssuers  = 1000
	maxIssuer   = 2048
	maxID       = 2048
	maxRenews   = 16
	maxLease    = 10 * time.Minute
	maxBelow    = 64 // names
)

// What a watcher does without a lease (WatcherConfig.OnStale).
const (
	deny       = "deny"
	introspect = "introspect"
	serve      = "serve"
)

var onStales = map[string]pb.OnStale{
	deny:       pb.OnStale_ON_STALE_DENY,
	introspect: pb.OnStale_ON_STALE_INTROSPECT,
	serve:      pb.OnStale_ON_STALE_SERVE,
}

func onStaleOf(v pb.OnStale) (string, bool) {
	for name, known := range onStales {
		if v == known {
			return name, true
		}
	}
	return "", false
}

// checkBelow bounds what a relay tells of who is below it.
func checkBelow(b *pb.Below) error {
	for _, names := range [][]string{b.GetPending(), b.GetUnbounded()} {
		if len(names) > maxBelow {
			return fmt.Errorf("%w: %d names below a relay", errBroken, len(names))
		}
		for _, n := range names {
			if len(n) > maxName {
				return fmt.Errorf("%w: a name of %d bytes", errBroken, len(n))
			}
		}
	}
	return nil
}

// below is an outcome as a relay tells it.
func below(o revocation.Outcome) *pb.Below {
	return &pb.Below{
		Applied: uint32(o.Applied), Expired: uint32(o.Expired),
		Pending: fewNames(o.Pending), Unbounded: fewNames(o.Unbounded),
	}
}

func fewNames(names []string) []string {
	var few []string
	for i, n := range names {
		if i == maxBelow-1 && len(names) > maxBelow {
			return append(few, fmt.Sprintf("(and %d more)", len(names)-i))
		}
		if len(n) > maxName {
			n = strings.ToValidUTF8(n[:maxName], "")
		}
		few = append(few, n)
	}
	return few
}

func encode(records []revocation.Record) []*pb.Record {
	out := make([]*pb.Record, len(records))
	for i, r := range records {
		out[i] = &pb.Record{
			Revision:          uint64(r.Revision),
			Issuer:            r.Issuer,
			Kind:              pb.Kind(r.Target.Kind),
			Id:                r.Target.ID,
			Client:            r.Target.Client,
			IssuedBefore:      unix(r.IssuedBefore),
			ExpiresAt:         unixUp(r.ExpiresAt),
			Reason:            string(r.Reason),
			CommittedAtMillis: millis(r.CommittedAt),
		}
	}
	return out
}

// decode refuses what it cannot understand or store: a watcher must not skip it.
func decode(in []*pb.Record) ([]revocation.Record, error) {
	out := make([]revocation.Record, len(in))
	for i, r := range in {
		if r == nil {
			return nil, errors.New("record is missing")
		}
		k := revocation.Kind(r.GetKind())
		switch {
		case r.GetKind() < 0 || r.GetKind() > 255 || !k.Valid():
			return nil, fmt.Errorf("record %d: unknown kind %d: this watcher is too old for its upstream", r.GetRevision(), r.GetKind())
		case len(r.GetIssuer()) > maxIssuer || len(r.GetId()) > maxID || len(r.GetClient()) > maxID || len(r.GetReason()) > maxName:
			return nil, fmt.Errorf("record %d: too long", r.GetRevision())
		case (r.GetId() == "") != (k == revocation.KindIssuer), (r.GetClient() == "") != (k != revocation.KindClientSession):
			return nil, fmt.Errorf("record %d: target does not fit kind %d", r.GetRevision(), k)
		}
		out[i] = revocation.Record{
			Revision:     revocation.Revision(r.GetRevision()),
			Issuer:       r.GetIssuer(),
			Target:       revocation.Target{Kind: k, ID: r.GetId(), Client: r.GetClient()},
			IssuedBefore: fromUnix(r.GetIssuedBefore()),
			ExpiresAt:    fromUnix(r.GetExpiresAt()),
			Reason:       revocation.Reason(r.GetReason()),
			CommittedAt:  fromMillis(r.GetCommittedAtMillis()),
		}
	}
	return out, nil
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func unixUp(t time.Time) int64 {
	if !t.IsZero() && t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return unix(t)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromUnix(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0)
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
