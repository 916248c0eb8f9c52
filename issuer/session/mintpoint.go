package session

import (
	"context"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// pointKey is a client.
type pointKey struct{ realmID, clientID string }

// point is what a client's tokens vouch for, as it was at a revision.
type point struct {
	rev revocation.Revision // read first
	standings
}

// MintPoint is the state that a token without a user session vouches for
// (client credentials): the revision, read first, and that realm and client
// are enabled (else *Dead).
//
// Mostly it is remembered, and the store is not asked. That is safe: the
// revision is remembered with the rest, so whatever has killed the client or
// its realm since has a higher one, and the token is dead where that is known,
// as it would be had it been minted a moment earlier. And the record of that
// kill lives as long as the token does: accessLife is covered by the
// high-water mark that the store has had since before the point was
// remembered. Reserving that ahead costs one write a minute and client; a crash
// loses nothing but a part of a minute that nobody uses.
func (s *Sessions) MintPoint(ctx context.Context, r realm.Realm, clientID string, accessLife time.Duration) (revocation.Revision, error) {
	end := markOf(s.now().Add(accessLife))
	k := pointKey{r.ID, clientID}
	p, err := s.points.Read(k, func() (p point, err error) {
		err = s.store.Read(ctx, func(v View) error { return p.read(v, r, clientID) })
		return p, err
	})
	if err == nil && p.marksBelow(end) {
		p, err = s.reserve(ctx, r, k, end)
	}
	if err != nil {
		return 0, outcome(err, "reading the mint point")
	}
	return p.rev, nil
}

// reserve raises the mark to end, and remembers the point of that moment.
func (s *Sessions) reserve(ctx context.Context, r realm.Realm, k pointKey, end time.Time) (point, error) {
	stamp := s.points.Stamp()
	var p point
	_, err := s.store.Write(ctx, func(tx Tx) error {
		if err := p.read(tx, r, k.clientID); err != nil {
			return err
		}
		return p.mark(tx, k.clientID, end)
	})
	if err != nil {
		return point{}, err
	}
	p.realmStanding.MaxAccessExp = later(p.realmStanding.MaxAccessExp, end)
	p.clientStanding.MaxAccessExp = later(p.clientStanding.MaxAccessExp, end)
	s.points.Keep(stamp, k, p)
	return p, nil
}

func (p *point) read(v View, r realm.Realm, clientID string) (err error) {
	if p.rev, err = v.Revision(); err != nil {
		return err
	}
	p.standings, err = standing(v, r, clientID)
	return err
}
