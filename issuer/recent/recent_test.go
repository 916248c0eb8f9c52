package recent_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/recent"
)

func TestKeepsUntilAChangeOrItsAge(t *testing.T) {
	t.Parallel()
	var changes uint64
	now := time.Unix(1_000_000, 0)
	reads := 0
	c := recent.New[string, int](func() uint64 { return changes }, func() time.Time { return now })
	read := func() int {
		v, _ := c.Read("k", func() (int, error) { reads++; return reads, nil })
		return v
	}
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"first", func() {}, 1},
		{"again", func() {}, 1},
		{"almost too old", func() { now = now.Add(recent.MaxAge - 1) }, 1},
		{"too old", func() { now = now.Add(1) }, 2},
		{"a change", func() { changes++ }, 3},
		{"the clock set back", func() { now = now.Add(-time.Second) }, 4},
		{"a change while it is read", func() {
			s := c.Stamp()
			changes++
			c.Keep(s, "k", 99)
		}, 5},
	} {
		step.do()
		if got := read(); got != step.want {
			t.Errorf("%s: got reading %d, want %d", step.name, got, step.want)
		}
	}
}

func TestKeepsNoErrorsAndNothingUntold(t *testing.T) {
	t.Parallel()
	kept := recent.New[string, int](func() uint64 { return 0 }, time.Now)
	failure := errors.New("no")
	if _, err := kept.Read("k", func() (int, error) { return 0, failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	if v, err := kept.Read("k", func() (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("an error was kept: %d, %v", v, err)
	}
	nothing := recent.New[string, int](nil, nil)
	for want := range 2 {
		if v, _ := nothing.Read("k", func() (int, error) { return want, nil }); v != want {
			t.Errorf("kept %d without being told of changes", v)
		}
	}
}
