package decisionlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// ids reads the decision ids of a file of lines, with "torn" for what is no
// event.
func ids(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(b)) {
		_, rest, ok := strings.Cut(line, `"decision_id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		if !ok || !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}\n") {
			id = "torn"
		}
		list = append(list, id)
	}
	return strings.Join(list, " ")
}

func numbered(from, to int) []Event {
	var events []Event
	for i := from; i < to; i++ {
		events = append(events, Event{ID: fmt.Sprint(i), Detail: strings.Repeat("x", 100)})
	}
	return events
}

func TestFileIsAppendedTo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "decisions.log")
	run(t, Config{File: &File{Path: path}}, numbered(0, 2)...)
	run(t, Config{File: &File{Path: path}}, numbered(2, 4)...)
	if got := ids(t, path); got != "0 1 2 3" {
		t.Errorf("file holds %s", got)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
}

// TestTornLineIsEnded: a process that was killed may have left half a line;
// the next event is not lost in it.
func TestTornLineIsEnded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "decisions.log")
	if err := os.WriteFile(path, []byte(`{"decision_id":"0"`), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, Config{File: &File{Path: path}}, numbered(1, 3)...)
	if got := ids(t, path); got != "torn 1 2" {
		t.Errorf("file holds %s", got)
	}
}

func TestFileRotatesBySize(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "decisions.log")
	size := int64(len(logged(t, Config{}, numbered(1, 2)...)[0]) + 1)
	c := Config{File: &File{Path: path, MaxBytes: 2*size + 1, Keep: 2}}
	run(t, c, numbered(0, 1)...)
	run(t, c, numbered(1, 9)...)
	got := map[string]string{}
	for _, suffix := range []string{"", ".1", ".2", ".3"} {
		got[suffix] = ids(t, path+suffix)
	}
	if diff := cmp.Diff(map[string]string{"": "8", ".1": "6 7", ".2": "4 5", ".3": "none"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestEventLargerThanTheFileIsWrittenWhole.
func TestEventLargerThanTheFileIsWrittenWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "decisions.log")
	run(t, Config{File: &File{Path: path, MaxBytes: 10}}, numbered(0, 3)...)
	if got := ids(t, path) + "," + ids(t, path+".1") + "," + ids(t, path+".2") + "," + ids(t, path+".3"); got != "2,1,0,none" {
		t.Errorf("files hold %s", got)
	}
}

// TestReopenFollowsWhoMovedTheFile, as logrotate does.
func TestReopenFollowsWhoMovedTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "decisions.log")
	written := make(lines, 100)
	l, err := New(Config{File: &File{Path: path}, Console: written})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()

	l.Record(Event{ID: "before"})
	<-written // the file may be later than the console, but not than the end
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	l.Record(Event{ID: "between"})
	<-written
	l.Reopen()
	l.Reopen()
	for ids(t, path) == "none" {
		l.Record(Event{ID: "after"})
		<-written
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := ids(t, path+".old"); !strings.HasPrefix(got, "before between") {
		t.Errorf("moved file holds %s", got)
	}
	if got := strings.ReplaceAll(ids(t, path), " after", ""); got != "after" && got != "" {
		t.Errorf("new file holds %s", got)
	}
}

// lines is a writer that hands out what is written.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// TestFileThatCannotBeWrittenIsCounted, and opened again when it can be.
func TestFileThatCannotBeWrittenIsCounted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewRegistry()
	m := newMetrics()
	if err := m.register(r, &Log{}); err != nil {
		t.Fatal(err)
	}
	f, err := newFile(File{Path: filepath.Join(dir, "decisions.log"), MaxBytes: 1}, m)
	if err != nil {
		t.Fatal(err)
	}
	event := [][]byte{[]byte(`{"decision_id":"1"}`)}
	if err := f.write(event); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := f.write(event); err == nil { // it is full, and there is no place for another
		t.Error("no error")
	}
	wantFigures(t, r, map[string]float64{"lost_total file": 1})
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := f.write(event); err != nil {
		t.Error(err)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
	if got := ids(t, f.c.Path); got != "1" {
		t.Errorf("file holds %s", got)
	}
}
