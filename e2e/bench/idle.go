package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// settle is how long a fresh program may do its first work before its idle
// memory is read.
const settle = time.Second

// idle starts both programs once more and measures start time and memory,
// before anything has asked them anything.
func (b *bench) idle(ctx context.Context) (idleReport, error) {
	var r idleReport
	var err error
	if r.IssuerStartMS, err = startTime(ctx, b.stack.Issuer); err != nil {
		return r, err
	}
	if r.AuthzStartMS, err = startTime(ctx, b.stack.Authz); err != nil {
		return r, err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	if r.IssuerRSSMiB, err = rss(b.stack.Issuer.PID()); err != nil {
		return r, err
	}
	r.AuthzRSSMiB, err = rss(b.stack.Authz.PID())
	return r, err
}

// startTime kills p, starts it again and returns the ms until it says it is ready.
func startTime(ctx context.Context, p *stack.Process) (float64, error) {
	p.Kill()
	begun := time.Now()
	if err := p.Launch(); err != nil {
		return 0, err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for time.Since(begun) < 30*time.Second && ctx.Err() == nil && p.PID() != 0 {
		if code, err := status(ctx, p.ReadyURL, ""); err == nil && code == http.StatusOK {
			return ms(time.Since(begun)), nil
		}
		<-tick.C
	}
	return 0, fmt.Errorf("%s did not become ready again; see %s", p.Name, p.LogFile)
}
