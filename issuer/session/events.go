package session

import (
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/ssf"
)

// announce queues what event streams are to hear of a session that ends,
// whatever the reason: it is over, for everybody who keeps one of that sid
// (CAEP 1.0 §3.1).
func announce(tx Tx, u UserSession, why revocation.Reason, now time.Time) error {
	return tx.Announce(u.RealmID, ssf.Event{Type: ssf.SessionRevoked, Subject: ssf.OfSession(u.ID, u.UserID), At: now, Reason: string(why)})
}

// announceUser is announce for all sessions of a person, in one event.
func announceUser(tx Tx, r realm.Realm, userID string, why revocation.Reason, now time.Time) error {
	types := []string{ssf.SessionRevoked}
	if why == revocation.ReasonDisabled {
		types = append(types, ssf.AccountDisabled) // RISC 1.0 §2.4
	}
	for _, name := range types {
		if err := tx.Announce(r.ID, ssf.Event{Type: name, Subject: ssf.OfPerson(userID), At: now, Reason: string(why)}); err != nil {
			return err
		}
	}
	return nil
}
