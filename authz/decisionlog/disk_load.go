package decisionlog

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// load finds what a run before has left.
func (d *disk) load(log *slog.Logger) error {
	at, err := d.readAck()
	if err != nil {
		return err
	}
	d.last = at.segment
	numbers, err := d.numbers()
	if err != nil {
		return err
	}
	for _, number := range numbers {
		d.last = max(d.last, number)
		if number < at.segment {
			if err := d.remove(number); err != nil {
				return err
			}
			continue
		}
		s, err := d.salvage(number, &at, log)
		if err != nil {
			return err
		}
		d.segments = append(d.segments, s)
		d.total += s.size
	}
	d.at = at
	return d.forget()
}

// numbers lists the segments that are there, oldest first.
func (d *disk) numbers() ([]uint64, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), suffix)
		number, err := strconv.ParseUint(name, 10, 64)
		if ok && err == nil && number > 0 && filepath.Base(d.path(number)) == entry.Name() {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// salvage counts the records of a segment, to the last whole one, and makes
// sure that at is the end of one of them.
func (d *disk) salvage(number uint64, at *place, log *slog.Logger) (*segment, error) {
	f, err := os.Open(d.path(number))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &segment{number: number}
	known := number != at.segment || at.offset == 0
	s.size, err = scan(f, info.Size(), func(_ []byte, end int64) {
		s.events++
		if number == at.segment && end == at.offset {
			at.events, known = s.events, true
		}
	})
	if err != nil && !errors.Is(err, errTorn) {
		return nil, err
	}
	if !known { // what was delivered cannot be told: twice is better than never
		*at = place{segment: number}
	}
	if s.size < info.Size() {
		log.Warn("decision log: a torn record in the disk buffer", "segment", number, "byte", s.size, "size", info.Size())
	}
	return s, nil
}

// readAck reads where delivery starts; the oldest segment if that is not known.
func (d *disk) readAck() (place, error) {
	b, err := os.ReadFile(filepath.Join(d.dir, ackName))
	if errors.Is(err, os.ErrNotExist) {
		return place{}, nil
	}
	if err != nil {
		return place{}, err
	}
	return parseAck(string(b)), nil
}

// parseAck is the start of everything for what it cannot read.
func parseAck(text string) place {
	number, offset, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
	n, err1 := strconv.ParseUint(number, 10, 63)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	if err1 != nil || err2 != nil || o < 0 {
		return place{}
	}
	return place{segment: n, offset: o}
}

// writeAck replaces the file as a whole, so that it is never half written.
func (d *disk) writeAck() error {
	temporary := filepath.Join(d.dir, ackName+".new")
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d %d\n", d.at.segment, d.at.offset)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(d.dir, ackName)); err != nil {
		return err
	}
	return syncDir(d.dir)
}

// syncDir makes names in a directory survive a power failure.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
