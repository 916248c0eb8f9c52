package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// revocations measures, for fresh tokens, the time from the HTTP answer of the
// revocation endpoint to the first refusal through Envoy. A request that is
// let through in between is part of the measure, not an error.
func (b *bench) revocations(ctx context.Context, c *candidate) (revocationReport, error) {
	const giveUp = 5 * time.Second
	gateway := "http://" + address(c.Port) + measuredPath
	samples := make([]time.Duration, 0, b.options.revocations)
	for range b.options.revocations {
		token, err := b.issuer.mint(ctx)
		if err != nil {
			return revocationReport{}, err
		}
		if code, err := status(ctx, gateway, token); err != nil || code != http.StatusOK {
			return revocationReport{}, fmt.Errorf("before the revocation: status %d, error %w", code, err)
		}
		if _, err := post(ctx, endpoint(b.stack, "revoke"), url.Values{"token": {token}}); err != nil {
			return revocationReport{}, err
		}
		answered := time.Now()
		for code := http.StatusOK; code != http.StatusUnauthorized; {
			if code, err = status(ctx, gateway, token); err != nil {
				return revocationReport{}, err
			}
			if time.Since(answered) > giveUp {
				return revocationReport{}, fmt.Errorf("a revoked token still gets %d after %v", code, giveUp)
			}
		}
		samples = append(samples, time.Since(answered))
	}
	slices.Sort(samples)
	return revocationReport{P50: ms(quantile(samples, 0.50)), P99: ms(quantile(samples, 0.99))}, nil
}
