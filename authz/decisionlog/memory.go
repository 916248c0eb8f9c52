package decisionlog

import (
	"slices"
	"sync"
)

// buffer keeps events between the encoder, which adds, and the uploader, which
// takes the oldest and says when they have arrived.
type buffer interface {
	// add keeps events, at the price of the oldest ones if there is no room.
	// It returns how many of the events it could not keep, and why.
	add(events [][]byte) (lost int, err error)
	// next returns the oldest events, of about so many bytes together but one
	// at least; none if there are none. Until done is called it returns them
	// again.
	next(bytes int) ([][]byte, error)
	// done forgets the first n that next returned.
	done(n int) error
	size() int64 // bytes kept
	close() error
	// keeps reports whether what is left at the end is there after a restart.
	keeps() bool
}

// memory is a buffer that ends with the process.
type memory struct {
	max     int64
	metrics *metrics

	mu     sync.Mutex // guards what follows
	flight [][]byte   // given out by next, older than events
	events [][]byte   // oldest first
	bytes  int64      // of both
}

func newMemory(limit int64, m *metrics) *memory { return &memory{max: limit, metrics: m} }

func (b *memory) add(events [][]byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, events...)
	b.bytes += total(events)
	gone := 0
	for ; b.bytes > b.max && gone < len(b.events); gone++ {
		b.bytes -= int64(len(b.events[gone]))
	}
	b.take(gone)
	b.metrics.lost(lostBufferFull, gone)
	return 0, nil
}

// take removes the first n events, and lets go of their memory.
func (b *memory) take(n int) [][]byte {
	taken := slices.Clone(b.events[:n])
	clear(b.events[:n])
	b.events = b.events[n:]
	return taken
}

func total(events [][]byte) int64 {
	n := 0
	for _, event := range events {
		n += len(event)
	}
	return int64(n)
}

func (b *memory) next(bytes int) ([][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.flight) == 0 {
		b.flight = b.take(prefix(b.events, bytes))
	}
	return b.flight, nil
}

// prefix is how many events have so many bytes together, but one at least.
func prefix(events [][]byte, bytes int) int {
	for i, event := range events {
		if bytes -= len(event); bytes < 0 {
			return max(i, 1)
		}
	}
	return len(events)
}

func (b *memory) done(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= total(b.flight[:n])
	b.flight = b.flight[n:]
	return nil
}

func (b *memory) size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}

func (b *memory) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.metrics.lost(lostAtEnd, len(b.flight)+len(b.events))
	b.flight, b.events, b.bytes = nil, nil, 0
	return nil
}

func (b *memory) keeps() bool { return false }
