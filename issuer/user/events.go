package user

import (
	"reflect"
	"time"

	"github.com/tegata/tegata/revocation/ssf"
)

// announce queues what event streams are to hear of a person who changes: that
// tokens say what is no longer so (CAEP 1.0 §3.2), that a password is another
// (§3.3). That they are disabled is announced with the end of their sessions.
func announce(tx Tx, before, after User, now time.Time) error {
	if claimed(before) != claimed(after) || !reflect.DeepEqual(before.Roles, after.Roles) ||
		!reflect.DeepEqual(before.Groups, after.Groups) || !reflect.DeepEqual(before.Attributes, after.Attributes) {
		if err := tx.Announce(after.RealmID, ssf.Event{Type: ssf.TokenClaimsChange, Subject: ssf.OfPerson(after.ID), At: now, Reason: "user changed"}); err != nil {
			return err
		}
	}
	if before.PasswordHash == after.PasswordHash {
		return nil
	}
	change := "update"
	if before.PasswordHash == "" {
		change = "create"
	}
	return tx.Announce(after.RealmID, ssf.Event{
		Type: ssf.CredentialChange, Subject: ssf.OfPerson(after.ID), At: now, ChangeType: change, CredentialType: "password", Reason: "password changed",
	})
}

// claimed are the plain claims of a person.
func claimed(u User) [5]any {
	return [5]any{u.Username, u.Email, u.EmailVerified, u.FirstName, u.LastName}
}
