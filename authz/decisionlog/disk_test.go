package decisionlog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// openDisk opens a disk buffer for a test, with its metrics.
func openDisk(t testing.TB, dir string, limit int64) (*disk, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewRegistry()
	m := newMetrics()
	if err := m.register(r, &Log{}); err != nil {
		t.Fatal(err)
	}
	d, err := newDisk(Disk{Dir: dir, MaxBytes: limit}, m, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d, r
}

// crash leaves a buffer as a process that is killed does: nothing is closed
// but what the kernel closes.
func crash(d *disk) {
	if d.w != nil {
		_ = d.w.Close()
	}
	_ = d.release()
}

// texts are events from the from-th on; each says its number.
func texts(from, to int) [][]byte {
	var events [][]byte
	for i := from; i < to; i++ {
		events = append(events, []byte(strconv.Itoa(i)))
	}
	return events
}

func mustAdd(t testing.TB, d *disk, events [][]byte) {
	t.Helper()
	if lost, err := d.add(events); err != nil || lost != 0 {
		t.Fatalf("add: %d lost, %v", lost, err)
	}
}

// drained delivers everything and returns it as one text.
func drained(t testing.TB, b buffer, bytes int) string {
	t.Helper()
	var got []string
	for {
		events, err := b.next(bytes)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			return strings.Join(got, " ")
		}
		for _, e := range events {
			got = append(got, string(e))
		}
		if err := b.done(len(events)); err != nil {
			t.Fatal(err)
		}
	}
}

func span(from, to int) string { return string(bytes.Join(texts(from, to), []byte(" "))) }

// TestBuffersAgree: memory and disk are the same to the uploader.
func TestBuffersAgree(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		d, _ := openDisk(t, t.TempDir(), 40*segmentShare) // a few records in a segment
		buffers := []buffer{newMemory(1<<20, newMetrics()), d}
		added := 0
		for range 60 {
			switch n := random.IntN(6); random.IntN(3) {
			case 0:
				if d.size() > 150 { // the bound is another test's; only disk counts headers of records
					continue
				}
				for _, b := range buffers {
					if _, err := b.add(texts(added, added+n)); err != nil {
						t.Fatal(err)
					}
				}
				added += n
			default:
				limit, share := random.IntN(8), random.Float64()*1.2
				var seen []string
				for _, b := range buffers {
					events, err := b.next(limit)
					if err != nil {
						t.Fatal(err)
					}
					seen = append(seen, fmt.Sprintf("%s", events))
					if err := b.done(min(int(float64(len(events))*share), len(events))); err != nil {
						t.Fatal(err)
					}
				}
				if seen[0] != seen[1] {
					t.Fatalf("seed %d: memory has %s, disk %s", seed, seen[0], seen[1])
				}
			}
		}
		if m, got := drained(t, buffers[0], 10), drained(t, d, 10); m != got {
			t.Errorf("seed %d: memory has %s, disk %s", seed, m, got)
		}
		if d.size() != 0 {
			t.Errorf("seed %d: %d bytes left", seed, d.size())
		}
		crash(d)
	}
}

// TestNothingIsLostOverACrash at any point between add, next and done: what
// was added and not done is there, in order.
func TestNothingIsLostOverACrash(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		added, done := 0, 0
		for range 10 {
			d, r := openDisk(t, dir, 600)
			for range random.IntN(6) {
				if random.IntN(2) == 0 && d.size() < 300 {
					n := random.IntN(5)
					mustAdd(t, d, texts(added, added+n))
					added += n
					continue
				}
				events, err := d.next(random.IntN(40))
				if err != nil {
					t.Fatal(err)
				}
				n := random.IntN(len(events) + 1)
				if err := d.done(n); err != nil {
					t.Fatal(err)
				}
				done += n
			}
			if f := figures(t, r); f["lost_total disk"]+f["lost_total buffer_full"] != 0 {
				t.Fatalf("seed %d: lost %v", seed, f)
			}
			if random.IntN(3) == 0 {
				if err := d.close(); err != nil {
					t.Fatal(err)
				}
			} else {
				crash(d)
			}
		}
		d, _ := openDisk(t, dir, 600)
		if got := drained(t, d, 20); got != span(done, added) {
			t.Errorf("seed %d: got %s, want %s", seed, got, span(done, added))
		}
		crash(d)
	}
}

// TestTornRecordCostsOnlyItself: the file ends anywhere, or in what a power
// failure makes of it.
func TestTornRecordCostsOnlyItself(t *testing.T) {
	t.Parallel()
	const each = recordHeader + 1
	for cut := range 3 * each {
		for name, tail := range map[string][]byte{"": nil, " and zeros": make([]byte, 100), " and noise": bytes.Repeat([]byte{0xa5}, 100)} {
			dir := t.TempDir()
			d, _ := openDisk(t, dir, 1<<20)
			mustAdd(t, d, texts(0, 3))
			path := d.path(1)
			crash(d)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(b[:cut:cut], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			d, _ = openDisk(t, dir, 1<<20)
			mustAdd(t, d, texts(3, 5))
			want := strings.TrimSpace(span(0, cut/each) + " " + span(3, 5))
			if got := drained(t, d, 1000); got != want {
				t.Errorf("cut at %d%s: got %s, want %s", cut, name, got, want)
			}
			crash(d)
		}
	}
}

// TestDamagedRecordIsNeverDelivered: whichever bit flips.
func TestDamagedRecordIsNeverDelivered(t *testing.T) {
	t.Parallel()
	var whole []byte
	for _, e := range texts(0, 3) {
		whole = appendRecord(whole, e)
	}
	for i := range whole {
		for bit := range 8 {
			b := slices.Clone(whole)
			b[i] ^= 1 << bit
			var got [][]byte
			_, err := scan(bytes.NewReader(b), int64(len(b)), func(event []byte, _ int64) { got = append(got, event) })
			if want := texts(0, i/(recordHeader+1)); !slices.EqualFunc(got, want, bytes.Equal) || !errors.Is(err, errTorn) {
				t.Errorf("byte %d, bit %d: got %s, %v, want %s", i, bit, got, err, want)
			}
		}
	}
}

// TestLengthIsNotBelieved: a damaged one must not take memory that the file
// could not fill. It does not run beside others, which take memory too.
func TestLengthIsNotBelieved(t *testing.T) {
	var before, after runtime.MemStats
	record := appendRecord(nil, make([]byte, 16))
	copy(record, []byte{0, 0, 0, 3}) // 48 MiB
	runtime.ReadMemStats(&before)
	if _, err := scan(bytes.NewReader(record), int64(len(record)), nil); !errors.Is(err, errTorn) {
		t.Errorf("error is %v", err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("took %d bytes", took)
	}
}

// TestDeliveredFileThatMakesNoSense delivers again rather than never.
func TestDeliveredFileThatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"gone":              {"", span(0, 6)},
		"empty":             {"\n", span(0, 6)},
		"no number":         {"x y\n", span(0, 6)},
		"below 0":           {"1 -9\n", span(0, 6)},
		"overflow":          {"99999999999999999999 0\n", span(0, 6)},
		"as it was":         {"1 18\n", span(2, 6)},
		"inside a record":   {"1 17\n", span(0, 6)},
		"behind the file":   {"1 1000\n", span(0, 6)},
		"the next one":      {"2 0\n", span(3, 6)},
		"a later one":       {"7 9\n", ""},
		"more than it says": {"1 18 x\n", span(0, 6)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for i := range 2 { // two segments
				d, _ := openDisk(t, dir, 1<<20)
				mustAdd(t, d, texts(3*i, 3*i+3))
				crash(d)
			}
			if tt.text != "" {
				if err := os.WriteFile(filepath.Join(dir, ackName), []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, ackName+".new"), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
			d, _ := openDisk(t, dir, 1<<20)
			mustAdd(t, d, texts(6, 7))
			if got, want := drained(t, d, 10), strings.TrimSpace(tt.want+" 6"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if err := d.close(); err != nil {
				t.Error(err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "*"+suffix)); err != nil || len(left) > 0 {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

// TestOldestEventsMakeRoom, and are counted; what is under way stays.
func TestOldestEventsMakeRoom(t *testing.T) {
	t.Parallel()
	const each = recordHeader + 2
	limit := int64(4 * segmentShare * each) // 8 segments of 4 records
	d, r := openDisk(t, t.TempDir(), limit)
	mustAdd(t, d, texts(10, 12))
	under, err := d.next(1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := 12; i < 99; i++ {
		mustAdd(t, d, texts(i, i+1))
		if d.size() > limit {
			t.Errorf("%d bytes, more than %d", d.size(), limit)
		}
	}
	if err := d.done(len(under)); err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(drained(t, d, 50))
	first, err := strconv.Atoi(got[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, " ") != span(first, 99) || len(got) < 28 {
		t.Errorf("got %s", got)
	}
	if lost := figures(t, r)["lost_total buffer_full"]; lost != float64(first-12) {
		t.Errorf("%v lost, want %d", lost, first-12)
	}
	crash(d)
}

// faulty is a segment file on a disk that is full after so many bytes.
type faulty struct {
	segmentFile
	left *int
	sync error
}

func (f faulty) Write(b []byte) (int, error) {
	if *f.left -= len(b); *f.left < 0 {
		n, _ := f.segmentFile.Write(b[:len(b)/2])
		return n, errors.New("no space left on device")
	}
	return f.segmentFile.Write(b)
}

func (f faulty) Sync() error { return errors.Join(f.sync, f.segmentFile.Sync()) }

// TestDiskThatFails loses what it could not write, says so, and goes on.
func TestDiskThatFails(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(segmentFile) (segmentFile, error){
		"full in the middle": func(f segmentFile) (segmentFile, error) { left := 20; return faulty{f, &left, nil}, nil },
		"does not sync": func(f segmentFile) (segmentFile, error) {
			left := 1000
			return faulty{f, &left, errors.New("EIO")}, nil
		},
		"cannot create": func(f segmentFile) (segmentFile, error) { return nil, errors.Join(errors.New("no inodes"), f.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d, _ := openDisk(t, dir, 1<<20)
			mustAdd(t, d, texts(0, 2))
			d.leave()
			d.create = func(path string) (segmentFile, error) {
				f, err := createSegment(path)
				if err != nil {
					return nil, err
				}
				return broken(f)
			}
			if lost, err := d.add(texts(2, 5)); lost != 3 || err == nil {
				t.Errorf("%d lost, %v", lost, err)
			}
			d.create = createSegment
			mustAdd(t, d, texts(5, 7))
			crash(d)
			d, _ = openDisk(t, dir, 1<<20)
			if got := drained(t, d, 1000); got != "0 1 5 6" {
				t.Errorf("got %s", got)
			}
			crash(d)
		})
	}
}

// TestDiskThatFailsIsSeen in log and figures.
func TestDiskThatFailsIsSeen(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	var log bytes.Buffer
	c := bubble(&service{})
	c.Disk = &Disk{Dir: t.TempDir()}
	l, err := New(Config{HTTP: &c, Metrics: r, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l.ups[0].buffer.(*disk).create = func(string) (segmentFile, error) { return nil, errors.New("no inodes") }
	record(l, numbered(0, 2)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	wantFigures(t, r, map[string]float64{"events_total logged": 2, "lost_total disk": 2})
	if !strings.Contains(log.String(), "no inodes") {
		t.Errorf("log says %q", log.String())
	}
}

// TestSegmentThatVanishesOrRots costs its events, not those behind it.
func TestSegmentThatVanishesOrRots(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(string) error{
		"gone": os.Remove,
		"cut":  func(path string) error { return os.Truncate(path, 3*(recordHeader+1)-1) },
		"rots": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("x"), 3*(recordHeader+1)-1)
			return errors.Join(err, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, r := openDisk(t, t.TempDir(), 1<<20)
			mustAdd(t, d, texts(0, 4))
			if err := harm(d.path(1)); err != nil {
				t.Fatal(err)
			}
			var got []string
			failed := 0
			for range 10 {
				events, err := d.next(1000)
				if err != nil {
					failed++
					mustAdd(t, d, texts(4, 6))
				}
				for _, e := range events {
					got = append(got, string(e))
				}
				if err := d.done(len(events)); err != nil {
					t.Fatal(err)
				}
			}
			f := figures(t, r)
			if kept, _ := strings.CutSuffix(strings.Join(got, " "), "4 5"); failed != 1 || f["lost_total disk"]+float64(len(strings.Fields(kept))) != 4 {
				t.Errorf("got %s after %d failures, %v", got, failed, f)
			}
			if !slices.Equal(got[len(got)-2:], []string{"4", "5"}) || d.size() != 0 {
				t.Errorf("got %s, %d bytes left", got, d.size())
			}
			if err := d.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDirectoryBelongsToOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, _ := openDisk(t, dir, 0)
	if _, err := newDisk(Disk{Dir: dir}, newMetrics(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error is %v", err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	d, _ = openDisk(t, dir, 0)
	crash(d)
}

// TestServiceAwayOverARestart: what was recorded before is delivered after, in
// order, and the end did not wait.
func TestServiceAwayOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		away := &service{answers: slices.Repeat([]answer{{status: 503}}, 1000)}
		c := bubble(away)
		c.Disk = &Disk{Dir: dir}
		start := time.Now()
		r := prometheus.NewRegistry()
		run(t, Config{HTTP: &c, Metrics: r}, numbered(0, 1000)...)
		if took := time.Since(start); took > time.Second {
			t.Errorf("the end took %s", took)
		}
		if f := figures(t, r); f["lost_total end"] != 0 {
			t.Errorf("lost %v", f)
		}
		back := &service{}
		c = bubble(back)
		c.Disk = &Disk{Dir: dir}
		run(t, Config{HTTP: &c}, numbered(1000, 1010)...)
		if got := back.received(); got != span(0, 1010) {
			t.Errorf("received %s", got)
		}
	})
}

// writer is the environment variable that makes this test binary a process to
// be killed; its value is the directory.
const writer = "TEGATA_TEST_DECISIONLOG_DIR"

// TestKilledWriter is that process: it says what it has written.
func TestKilledWriter(t *testing.T) {
	dir := os.Getenv(writer)
	if dir == "" {
		t.Skip("started by TestKillLosesNothingThatWasWritten")
	}
	d, _ := openDisk(t, dir, 1<<20)
	events, err := d.next(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	from := 0
	if n := len(events); n > 0 {
		last, err := strconv.Atoi(string(events[n-1]))
		if err != nil {
			t.Fatal(err)
		}
		from = last + 1
	}
	for n := 1; ; n = n%7 + 1 {
		mustAdd(t, d, texts(from, from+n))
		from += n
		fmt.Printf("written %d\n", from)
	}
}

// TestKillLosesNothingThatWasWritten: kill -9, again and again.
func TestKillLosesNothingThatWasWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$", "-test.v")
		cmd.Env = append(os.Environ(), writer+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		written := 0
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			if _, err := fmt.Sscanf(lines.Text(), "written %d", &written); err != nil {
				continue
			}
			if n++; n == 5+3*round {
				_ = cmd.Process.Kill() // it is still there: it never ends by itself
			}
		}
		_ = cmd.Wait() // killed
		d, _ := openDisk(t, dir, 1<<20)
		events, err := d.next(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(bytes.Join(events, []byte(" "))); len(events) < written || written == 0 || got != span(0, len(events)) {
			t.Fatalf("round %d: %d events, want at least %d in order: %s", round, len(events), written, got)
		}
		crash(d)
	}
}

// FuzzSegment: what is read from any file is what was written to one, and
// nothing is read behind the end or makes it allocate more than there is.
func FuzzSegment(f *testing.F) {
	var whole []byte
	for _, e := range [][]byte{[]byte("{}"), nil, bytes.Repeat([]byte("x"), 300)} {
		whole = appendRecord(whole, e)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(slices.Clone(whole), 0, 0, 0, 0, 0, 0, 0, 0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		end, err := scan(bytes.NewReader(b), int64(len(b)), func(event []byte, end int64) {
			again = appendRecord(again, event)
			if end != int64(len(again)) {
				t.Errorf("end is %d, want %d", end, len(again))
			}
		})
		if err != nil && !errors.Is(err, errTorn) {
			t.Error(err)
		}
		if !bytes.Equal(again, b[:end]) || err == nil && end != int64(len(b)) {
			t.Errorf("%d bytes read as %x, %v", end, again, err)
		}
	})
}

// FuzzDelivered: any text is a place or the start, and a place reads back.
func FuzzDelivered(f *testing.F) {
	for _, s := range []string{"", "1 0\n", "5 18\n", "-1 0", "1 -1", "9223372036854775807 9223372036854775807\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := parseAck(text)
		if p.offset < 0 || p.events != 0 {
			t.Errorf("%q is %v", text, p)
		}
		if again := parseAck(fmt.Sprintf("%d %d\n", p.segment, p.offset)); again != p {
			t.Errorf("%v reads back as %v", p, again)
		}
	})
}
