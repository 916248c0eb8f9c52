package decisionlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
)

// console writes the line that OPA writes with decision_logs.console.
type console struct {
	w       io.Writer
	metrics *metrics
}

const consolePrefix = `{"level":"info","msg":"Decision Log","type":"openpolicyagent.org/decision_logs",`

func (c *console) write(events [][]byte) error {
	var b bytes.Buffer
	for _, event := range events {
		b.WriteString(consolePrefix)
		b.Write(event[1:]) // its {
		b.WriteByte('\n')
	}
	if _, err := c.w.Write(b.Bytes()); err != nil {
		c.metrics.lost(lostConsole, len(events))
		return fmt.Errorf("writing to the console: %w", err)
	}
	return nil
}

func (c *console) close() error { return nil }

// File configures a file of one JSON object a line. It is made with mode 0600
// and appended to.
type File struct {
	Path     string
	MaxBytes int64 // then it is moved to Path.1, that to Path.2 …; 0: never, something else rotates (see Log.Reopen)
	Keep     int   // files kept besides Path; default 5
}

const defaultKeep = 5

// fileOutput is used by one goroutine.
type fileOutput struct {
	c       File
	metrics *metrics
	f       *os.File // nil after it could not be opened
	size    int64
	torn    bool // the last line may not be whole
}

func newFile(c File, m *metrics) (*fileOutput, error) {
	if c.Path == "" || c.MaxBytes < 0 || c.Keep < 0 {
		return nil, errors.New("file: a path is needed, and no number below 0")
	}
	if c.Keep == 0 {
		c.Keep = defaultKeep
	}
	f := &fileOutput{c: c, metrics: m}
	return f, f.open()
}

func (o *fileOutput) open() error {
	f, err := os.OpenFile(o.c.Path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening the decision log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("opening the decision log: %w", err), f.Close())
	}
	o.f, o.size, o.torn = f, info.Size(), !endsLine(f, info.Size())
	return nil
}

// endsLine reports whether a file is empty or ends with a line end: who wrote
// it may have been killed in the middle of a line.
func endsLine(f *os.File, size int64) bool {
	var last [1]byte
	if size == 0 {
		return true
	}
	if _, err := f.ReadAt(last[:], size-1); err != nil {
		return true // not a regular file: a pipe, a device
	}
	return last[0] == '\n'
}

// reopen opens the path anew.
func (o *fileOutput) reopen() error { return errors.Join(o.close(), o.open()) }

func (o *fileOutput) close() error {
	if o.f == nil {
		return nil
	}
	err := o.f.Close()
	o.f = nil
	return err
}

// write appends events. A file that cannot be moved away grows on.
func (o *fileOutput) write(events [][]byte) error {
	var errs []error
	for len(events) > 0 {
		n := o.fitting(events)
		if n == 0 {
			n = 1
			if err := o.rotate(); err != nil {
				errs, n = append(errs, err), len(events)
			}
		}
		if err := o.put(events[:n]); err != nil {
			o.metrics.lost(lostFile, n)
			errs = append(errs, err)
		}
		events = events[n:]
	}
	return errors.Join(errs...)
}

// fitting is how many of the events the file has room for.
func (o *fileOutput) fitting(events [][]byte) int {
	if o.c.MaxBytes == 0 {
		return len(events)
	}
	size := o.size
	for i, event := range events {
		if size += int64(len(event)) + 1; size > o.c.MaxBytes && (o.size > 0 || i > 0) {
			return i
		}
	}
	return len(events)
}

// put writes lines in one call, so that a reader sees whole ones.
func (o *fileOutput) put(events [][]byte) error {
	if o.f == nil {
		if err := o.open(); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if o.torn {
		b.WriteByte('\n')
	}
	for _, event := range events {
		b.Write(event)
		b.WriteByte('\n')
	}
	n, err := o.f.Write(b.Bytes())
	o.size += int64(n)
	o.torn = err != nil
	if err != nil {
		return fmt.Errorf("writing the decision log: %w", err)
	}
	return nil
}

// rotate moves the file away and begins another.
func (o *fileOutput) rotate() error {
	errs := []error{o.close()}
	for i := o.c.Keep; i > 0; i-- {
		err := os.Rename(o.name(i-1), o.name(i))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("rotating the decision log: %w", err))
		}
	}
	return errors.Join(append(errs, o.open())...)
}

// name is that of the i-th file back.
func (o *fileOutput) name(i int) string {
	if i == 0 {
		return o.c.Path
	}
	return o.c.Path + "." + strconv.Itoa(i)
}
