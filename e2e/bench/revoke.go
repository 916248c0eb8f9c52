package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// giveUp is when a revoked token that still gets through is an error.
const giveUp = 5 * time.Second

// revocations measures, for fresh tokens, the time from the HTTP answer of the
// revocation endpoint to the first refusal through Envoy. A request that is
// let through in between is part of the measure, not an error.
func (b *bench) revocations(ctx context.Context) (revocationReport, error) {
	tegata := b.cases[len(b.cases)-1]
	gateway := "http://" + address(tegata.Port) + measuredPath
	samples := make([]time.Duration, 0, b.options.revocations)
	for range b.options.revocations {
		took, err := b.revocation(ctx, gateway)
		if err != nil {
			return revocationReport{}, fmt.Errorf("timing a revocation: %w", err)
		}
		samples = append(samples, took)
	}
	slices.Sort(samples)
	return revocationReport{P50: ms(quantile(samples, 0.50)), P99: ms(quantile(samples, 0.99))}, nil
}

// revocation mints a token, uses it, revokes it, and asks until it is refused.
func (b *bench) revocation(ctx context.Context, gateway string) (time.Duration, error) {
	token, err := b.issuer.mint(ctx)
	if err != nil {
		return 0, err
	}
	if code, err := status(ctx, gateway, token); err != nil {
		return 0, err
	} else if code != http.StatusOK {
		return 0, fmt.Errorf("a fresh token gets %d", code)
	}
	if _, err := post(ctx, endpoint(b.stack.RealmURL, "revoke"), url.Values{"token": {token}}); err != nil {
		return 0, err
	}
	for answered := time.Now(); ; {
		code, err := status(ctx, gateway, token)
		took := time.Since(answered)
		switch {
		case err != nil:
			return 0, err
		case code == http.StatusUnauthorized:
			return took, nil
		case code != http.StatusOK:
			return 0, fmt.Errorf("a revoked token gets %d, want 401", code)
		case took > giveUp:
			return 0, fmt.Errorf("a revoked token still gets through after %v", took.Round(time.Millisecond))
		}
	}
}
