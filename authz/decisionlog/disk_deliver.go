package decisionlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// waiting is how many events of a segment neither have been delivered nor are
// under way.
func (d *disk) waiting(s *segment) int {
	behind := d.read()
	switch {
	case behind.segment == s.number:
		return s.events - behind.events
	case behind.segment > s.number:
		return 0
	}
	return s.events
}

// read is the place behind what next has given out.
func (d *disk) read() place {
	if n := len(d.flight); n > 0 {
		return d.flight[n-1].end
	}
	return d.at
}

func (d *disk) next(bytes int) ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.flight) == 0 {
		if err := d.takeOff(bytes); err != nil {
			return nil, fmt.Errorf("disk buffer: %w", err)
		}
	}
	events := make([][]byte, len(d.flight))
	for i := range d.flight {
		events[i] = d.flight[i].event
	}
	return events, nil
}

// takeOff reads the oldest events that have not been delivered.
func (d *disk) takeOff(bytes int) error {
	for _, s := range d.segments {
		if d.waiting(s) == 0 {
			continue
		}
		full, err := d.readSegment(s, &bytes)
		if err != nil || full {
			return err
		}
	}
	return nil
}

// readSegment takes events of one segment, until bytes is used up.
func (d *disk) readSegment(s *segment, bytes *int) (full bool, err error) {
	from := place{segment: s.number}
	if r := d.read(); r.segment == s.number {
		from = r
	}
	f, err := os.Open(d.path(s.number))
	if errors.Is(err, os.ErrNotExist) {
		return false, d.giveUp(s, from, err)
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read
	if _, err := f.Seek(from.offset, io.SeekStart); err != nil {
		return false, err
	}
	br := bufio.NewReader(f)
	for from.offset < s.size {
		event, err := readRecord(br, s.size-from.offset)
		if err != nil {
			return false, d.giveUp(s, from, err)
		}
		if *bytes -= len(event); *bytes < 0 && len(d.flight) > 0 {
			return true, nil
		}
		from.offset += recordSize(event)
		from.events++
		d.flight = append(d.flight, flying{event, from})
	}
	return false, nil
}

// giveUp skips the rest of a segment that was whole once and is not any more.
func (d *disk) giveUp(s *segment, from place, err error) error {
	d.metrics.lost(lostDisk, s.events-from.events)
	d.total -= s.size - from.offset
	s.size, s.events = from.offset, from.events
	if s.number == d.last {
		d.leave() // what would come behind could not be read either
	}
	return fmt.Errorf("segment %d, byte %d: %w", s.number, from.offset, err)
}

func (d *disk) done(n int) error {
	if n == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = d.flight[n-1].end
	d.flight = d.flight[n:]
	if err := d.writeAck(); err != nil {
		return fmt.Errorf("disk buffer: %w", err)
	}
	if err := d.forget(); err != nil {
		return fmt.Errorf("disk buffer: %w", err)
	}
	return nil
}

// forget removes segments of which everything was delivered, but for the
// current one.
func (d *disk) forget() error {
	for len(d.segments) > 0 {
		s := d.segments[0]
		current := s.number == d.last && d.w != nil
		if current || s.number > d.at.segment || s.number == d.at.segment && d.at.offset < s.size {
			return nil
		}
		if err := d.remove(s.number); err != nil {
			return err
		}
		d.total -= s.size
		d.segments = d.segments[1:]
	}
	return nil
}
