package main

import (
	"fmt"
	"os"

	"github.com/tegata/tegata/issuer"
)

// readRealms reads realm files, strictly: what the issuer would ignore is an
// error, but for what an export of Keycloak's has that changes nothing.
func readRealms(paths []string) ([]issuer.Realm, error) {
	var realms []issuer.Realm
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, withHint(fmt.Errorf("reading a realm file: %w", err), "issuer.realms names it, relative to the configuration file")
		}
		var r issuer.Realm
		doc, err := decodeStrictBut(path, b, &r, issuer.Foreign)
		if err != nil {
			return nil, err
		}
		if err := checkRealm(doc, r); err != nil {
			return nil, err
		}
		realms = append(realms, r)
	}
	return realms, nil
}

// checkRealm complains about what is missing; what values mean is the issuer's to judge.
func checkRealm(doc *document, r issuer.Realm) error {
	if r.Realm == "" {
		return doc.at("realm", "required: the realm's name", "realm: main")
	}
	for i, c := range r.Clients {
		if c.ClientID == "" {
			return doc.at(fmt.Sprintf("clients[%d].clientId", i), "required", "")
		}
	}
	for i, u := range r.Users {
		if u.Username == "" {
			return doc.at(fmt.Sprintf("users[%d].username", i), "required", "")
		}
	}
	return nil
}
