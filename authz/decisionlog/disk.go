package decisionlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Disk configures a buffer that survives a restart. An event is safe when it
// has been written and synced, a few milliseconds after Record; from then on
// it is delivered at least once.
type Disk struct {
	Dir      string // of one process alone; made with mode 0700
	MaxBytes int64  // then the oldest events are dropped; default 256 MiB
}

const (
	defaultDiskBytes = 256 << 20
	segmentShare     = 8 // a segment is so much of the buffer, about
	suffix           = ".log"
	ackName          = "delivered"
	lockName         = "lock"
)

// disk is a buffer in segment files, numbered in order. Only the last one is
// written to, and never one from before a restart, so a torn record can only
// be the end of a file. The file "delivered" says where the next delivery
// starts; a crash before it is replaced delivers a batch twice.
type disk struct {
	dir     string
	max     int64
	metrics *metrics
	create  func(path string) (segmentFile, error)
	lock    *os.File

	mu       sync.Mutex  // guards what follows
	segments []*segment  // oldest first
	w        segmentFile // the last segment, or nil
	last     uint64      // highest number given so far
	total    int64
	at       place    // where the next delivery starts
	flight   []flying // what next has given out
}

// segmentFile is what is needed to write a segment.
type segmentFile interface {
	io.Writer
	Sync() error
	Truncate(size int64) error
	Close() error
}

// segment is one file.
type segment struct {
	number uint64
	size   int64 // of its whole and synced records
	events int
}

// place is behind so many events, so many bytes into a segment.
type place struct {
	segment uint64
	offset  int64
	events  int
}

// flying is an event under way, and the place behind it.
type flying struct {
	event []byte
	end   place
}

func newDisk(c Disk, m *metrics, log *slog.Logger) (*disk, error) {
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultDiskBytes
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("disk buffer: %w", err)
	}
	d := &disk{dir: c.Dir, max: c.MaxBytes, metrics: m, create: createSegment}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	if err := d.load(log); err != nil {
		return nil, errors.Join(fmt.Errorf("disk buffer: %w", err), d.lock.Close())
	}
	return d, nil
}

func createSegment(path string) (segmentFile, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// acquire makes sure that no other process uses the directory. The lock ends
// with the process, however it ends.
func (d *disk) acquire() error {
	f, err := os.OpenFile(filepath.Join(d.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("disk buffer: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("disk buffer: %s is in use by another process: %w", d.dir, err), f.Close())
	}
	d.lock = f
	return nil
}

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
		if ok && err == nil && number > 0 {
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

func (d *disk) path(number uint64) string {
	return filepath.Join(d.dir, fmt.Sprintf("%020d%s", number, suffix))
}

func (d *disk) remove(number uint64) error {
	if err := os.Remove(d.path(number)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// add writes events and syncs. What a failure leaves half written is cut off,
// and the next events start a new segment.
func (d *disk) add(events [][]byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(events) > 0 {
		n, err := d.put(events)
		if err != nil {
			return len(events), fmt.Errorf("disk buffer: %w", err)
		}
		events = events[n:]
	}
	return 0, nil
}

// put writes the events that belong into the current segment.
func (d *disk) put(events [][]byte) (int, error) {
	s, err := d.current(recordSize(events[0]))
	if err != nil {
		return 0, err
	}
	var b []byte
	n := 0
	for _, event := range events {
		if n > 0 && s.size+int64(len(b))+recordSize(event) > d.max/segmentShare {
			break
		}
		b = appendRecord(b, event)
		n++
	}
	d.makeRoom(int64(len(b)))
	_, err = d.w.Write(b)
	if err == nil {
		err = d.w.Sync()
	}
	if err != nil {
		err = errors.Join(err, d.w.Truncate(s.size))
		d.leave()
		return 0, err
	}
	s.size += int64(len(b))
	s.events += n
	d.total += int64(len(b))
	return n, nil
}

// current is the segment for a record of so many bytes: the last, or a new one.
func (d *disk) current(size int64) (*segment, error) {
	if d.w != nil {
		s := d.segments[len(d.segments)-1]
		if s.events == 0 || s.size+size <= d.max/segmentShare {
			return s, nil
		}
		d.leave()
	}
	d.last++ // also if it fails: a number is never tried twice
	w, err := d.create(d.path(d.last))
	if err != nil {
		return nil, err
	}
	if err := syncDir(d.dir); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	d.w = w
	s := &segment{number: d.last}
	d.segments = append(d.segments, s)
	return s, nil
}

// leave ends the current segment. All that counts in it is synced, so closing
// has nothing to say.
func (d *disk) leave() {
	if d.w != nil {
		_ = d.w.Close()
		d.w = nil
	}
}

// makeRoom drops the oldest segments, but never the current one.
func (d *disk) makeRoom(size int64) {
	for d.total+size > d.max && len(d.segments) > 1 {
		oldest := d.segments[0]
		d.metrics.lost(lostBufferFull, d.waiting(oldest))
		_ = d.remove(oldest.number) // what stays is found, and counts, after a restart
		d.total -= oldest.size
		d.segments = d.segments[1:]
	}
}

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

// size is what has not been delivered.
func (d *disk) size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := d.total
	if len(d.segments) > 0 && d.segments[0].number == d.at.segment {
		size -= d.at.offset
	}
	return size
}

func (d *disk) keeps() bool { return true }

func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leave()
	return errors.Join(d.forget(), d.lock.Close())
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
