package watch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tegata/tegata/revocation"
)

// memory is a Source in memory with fault hooks. What is committed there
// survives the Upstream that serves it, as a store does.
type memory struct {
	mu      sync.Mutex
	epoch   revocation.Epoch
	head    revocation.Revision
	records []revocation.Record
	broken  bool
	wake    chan struct{}
}

func newMemory(epoch revocation.Epoch) *memory {
	return &memory{epoch: epoch, wake: make(chan struct{}, 1)}
}

var errBrokenSource = errors.New("source is broken")

func (m *memory) Head(context.Context) (revocation.Epoch, revocation.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		return "", 0, errBrokenSource
	}
	return m.epoch, m.head, nil
}

func (m *memory) Since(_ context.Context, after revocation.Revision, limit int) ([]revocation.Record, revocation.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		return nil, 0, errBrokenSource
	}
	i, _ := slices.BinarySearchFunc(m.records, after+1, func(r revocation.Record, v revocation.Revision) int { return int(r.Revision) - int(v) })
	if rest := m.records[i:]; len(rest) > limit {
		return slices.Clone(rest[:limit]), rest[limit-1].Revision, nil
	}
	return slices.Clone(m.records[i:]), m.head, nil
}

func (m *memory) Committed() <-chan struct{} { return m.wake }

func (m *memory) commit(records ...revocation.Record) revocation.Revision {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		m.head++
		r.Revision = m.head
		m.records = append(m.records, r)
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return m.head
}

func (m *memory) breakDown(b bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = b
}

// restore is an operator who puts back a backup: history is cut, and the
// epoch is new.
func (m *memory) restore(epoch revocation.Epoch, to revocation.Revision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.records, to+1, func(r revocation.Record, v revocation.Revision) int { return int(r.Revision) - int(v) })
	m.records, m.head, m.epoch = slices.Clone(m.records[:i]), to, epoch
}

// compact drops what has expired by now.
func (m *memory) compact(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = slices.DeleteFunc(slices.Clone(m.records), func(r revocation.Record) bool { return r.ExpiresAt.Before(now) })
}

func sessionRecord(id string) revocation.Record {
	return revocation.Record{
		Issuer: "https://issuer.test/realms/a", Target: revocation.Target{Kind: revocation.KindSession, ID: id},
		ExpiresAt: time.Now().Add(time.Hour), Reason: revocation.ReasonLogout,
	}
}

func sessionToken(id string) revocation.Token {
	return revocation.Token{Issuer: "https://issuer.test/realms/a", Session: id}
}

func revoked(s *revocation.Set, id string) bool {
	v := s.Begin()
	defer v.End()
	_, dead := v.Revoked(sessionToken(id))
	return dead
}
