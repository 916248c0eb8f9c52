package decisionlog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
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
		return nil, errors.Join(fmt.Errorf("disk buffer: %w", err), d.release())
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

// release gives the directory to others, at once: closing alone would wait for
// a child process that is just being started.
func (d *disk) release() error {
	return errors.Join(syscall.Flock(int(d.lock.Fd()), syscall.LOCK_UN), d.lock.Close())
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
	return errors.Join(d.forget(), d.release())
}
