package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tegata/tegata/issuer/realm"
)

// Kinds of single-use values of pushed requests: one row keeps the request,
// another that it was used, for a login may take longer than it is kept.
const (
	kindPushed     = "pushed"
	kindPushedUsed = "pushed used"
)

// pushedMemory is for how long it is remembered that a pushed request was used.
const pushedMemory = 24 * time.Hour

// pushed is a request as the store keeps it.
type pushed struct {
	ClientID string
	Body     json.RawMessage
}

// Push keeps a client's authorization request (RFC 9126), which is JSON, for
// life and returns the value that stands for it.
func (s *Sessions) Push(ctx context.Context, r realm.Realm, clientID string, body []byte, life time.Duration) (string, error) {
	value, err := s.newSecret()
	if err != nil {
		return "", err
	}
	kept, err := json.Marshal(pushed{clientID, body})
	if err != nil {
		return "", fmt.Errorf("encoding a pushed request: %w", err)
	}
	u := SingleUse{Hash: hash(r, kindPushed, value), Kind: kindPushed, Body: kept, Expires: s.now().Add(life)}
	if _, err := s.store.Write(ctx, func(tx Tx) error { return tx.PutSingleUse(u) }); err != nil {
		return "", outcome(err, "keeping a pushed request")
	}
	return value, nil
}

// Pushed is the request that a client pushed. ErrNotFound if it is unknown,
// expired, used, or another client's. Looking does not use it up: a browser
// may load a page twice. IssueCode does.
func (s *Sessions) Pushed(ctx context.Context, r realm.Realm, clientID, value string) ([]byte, error) {
	now := s.now()
	var p pushed
	err := s.store.Read(ctx, func(v View) error {
		u, err := v.SingleUse(hash(r, kindPushed, value))
		if err != nil {
			return err
		}
		if _, err := v.SingleUse(hash(r, kindPushedUsed, value)); !errors.Is(err, ErrNotFound) {
			return errors.Join(err, ErrNotFound)
		}
		if !now.Before(u.Expires) {
			return ErrNotFound
		}
		p = pushed{}
		return json.Unmarshal(u.Body, &p)
	})
	if err == nil && p.ClientID != clientID {
		err = ErrNotFound
	}
	return p.Body, outcome(err, "reading a pushed request")
}

// usePushed uses a pushed request up, or is ErrReplayed.
func usePushed(tx Tx, r realm.Realm, value string, now time.Time) error {
	if value == "" {
		return nil
	}
	key := hash(r, kindPushedUsed, value)
	_, err := tx.SingleUse(key)
	if err == nil {
		return ErrReplayed
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	return tx.PutSingleUse(SingleUse{
		Hash: key, Kind: kindPushedUsed, Used: true,
		Expires: now.Add(pushedMemory + r.Settings.WithDefaults().AccessCodeLifespanLogin),
	})
}
