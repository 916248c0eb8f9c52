package claims

import (
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// Subject is what a client knows a person by: sub.
func (m *Maker) Subject(_ realm.Realm, _ client.Client, userID string) string { return userID }
