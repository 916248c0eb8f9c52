package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tegata/tegata/issuer/realm"
)

// Consent is what a person has let a client have. It lasts until EndConsent.
type Consent struct {
	RealmID  string
	UserID   string
	ClientID string
	Scope    string    // space separated, sorted, without openid
	Created  time.Time // when the client was first let in
	Updated  time.Time // when it last got more
}

// asksNothing is the scope that makes a request one of OpenID Connect; whoever
// lets a client know who they are has let it have that already.
const asksNothing = "openid"

// covers reports whether the consent is for all of scope.
func (c Consent) covers(scope string) bool {
	had := strings.Fields(c.Scope)
	return !slices.ContainsFunc(strings.Fields(scope), func(s string) bool {
		return s != asksNothing && !slices.Contains(had, s)
	})
}

// with is the consent and what is in scope.
func (c Consent) with(scope string) Consent {
	all := append(strings.Fields(c.Scope), strings.Fields(scope)...)
	all = slices.DeleteFunc(all, func(s string) bool { return s == asksNothing })
	slices.Sort(all)
	c.Scope = strings.Join(slices.Compact(all), " ")
	return c
}

// Consented reports whether a person has let a client have all of scope.
func (s *Sessions) Consented(ctx context.Context, r realm.Realm, userID, clientID, scope string) (bool, error) {
	yes := false
	err := s.store.Read(ctx, func(v View) error {
		c, err := v.Consent(r.ID, userID, clientID)
		yes = err == nil && c.covers(scope)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return yes, outcome(err, "reading a consent")
}

// Consent remembers that a person lets a client have scope too.
func (s *Sessions) Consent(ctx context.Context, r realm.Realm, userID, clientID, scope string) error {
	now := s.now()
	_, err := s.store.Write(ctx, func(tx Tx) error {
		c, err := tx.Consent(r.ID, userID, clientID)
		if errors.Is(err, ErrNotFound) {
			c, err = Consent{RealmID: r.ID, UserID: userID, ClientID: clientID, Created: now}, nil
		}
		if err != nil {
			return err
		}
		c = c.with(scope)
		c.Updated = now
		return tx.PutConsent(c)
	})
	return outcome(err, "remembering a consent")
}

// Consents are what a person has let clients have, by client_id.
func (s *Sessions) Consents(ctx context.Context, r realm.Realm, userID string) ([]Consent, error) {
	var all []Consent
	err := s.store.Read(ctx, func(v View) (err error) {
		all, err = v.ConsentsOf(r.ID, userID)
		return err
	})
	return all, outcome(err, "reading consents")
}

// checkConsent is *Dead if what a code was issued under, or a device approved,
// has been withdrawn.
func checkConsent(v View, r realm.Realm, userID, clientID, scope string) error {
	given, err := v.Consent(r.ID, userID, clientID)
	if errors.Is(err, ErrNotFound) || err == nil && !given.covers(scope) {
		return &Dead{Revoked}
	}
	return err
}
