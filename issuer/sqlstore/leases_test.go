package sqlstore_test

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/pgtest"
	"github.com/tegata/tegata/issuer/sqlstore"
)

// onBoth runs a test on each engine, with what opens one database.
func onBoth(t *testing.T, f func(*testing.T, sqlstore.Config)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		f(t, sqlstore.Config{Path: filepath.Join(t.TempDir(), "tegata.db")})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		f(t, sqlstore.Config{Postgres: sqlstore.Postgres{URL: pgtest.URL(t)}})
	})
}

// TestOneLeads at a time, another when its term is over, and a clock that was
// wrong leads nobody astray.
func TestOneLeads(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, c sqlstore.Config) {
		var now atomic.Int64
		now.Store(1_800_000_000)
		c.Now = func() time.Time { return time.Unix(now.Load(), 0) }
		a, b := openWith(t, c), openWith(t, c)
		const term = time.Minute
		for i, step := range []struct {
			after int64 // seconds
			who   *sqlstore.DB
			want  bool
		}{
			{0, a, true},
			{0, b, false},
			{30, a, true},
			{31, b, false},
			{28, b, false},
			{1, b, true},
			{0, a, false},
			{10_000, a, true},
			{-10_000, b, true},
		} {
			now.Add(step.after)
			if got, err := step.who.Lead(t.Context(), "sweep", term); got != step.want || err != nil {
				t.Errorf("step %d: leads %v, %v", i, got, err)
			}
		}
		if got, err := a.Lead(t.Context(), "another", term); !got || err != nil {
			t.Errorf("another task: %v, %v", got, err)
		}
	})
}

// TestOneOfManyLeads who ask at once.
func TestOneOfManyLeads(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, c sqlstore.Config) {
		var dbs [4]*sqlstore.DB
		for i := range dbs {
			dbs[i] = openWith(t, c)
		}
		for range 10 {
			var leaders atomic.Int64
			var wg sync.WaitGroup
			for _, db := range dbs {
				wg.Go(func() {
					leads, err := db.Lead(t.Context(), "sweep", time.Minute)
					if err != nil {
						t.Error(err)
					}
					if leads {
						leaders.Add(1)
					}
				})
			}
			wg.Wait()
			if n := leaders.Load(); n != 1 {
				t.Errorf("%d lead", n)
			}
		}
	})
}
