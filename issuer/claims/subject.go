package claims

import (
	"crypto/md5" //nolint:gosec // of a hash, to make a UUID of it
	"crypto/sha256"
	"errors"
	"net/url"
	"slices"

	"github.com/google/uuid"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// pairwise is the mapper by which a client, and the clients of its sector,
// know people by subjects that nobody else knows (OpenID Connect Core §8.1).
const pairwise = "oidc-sha256-pairwise-sub-mapper"

// What configures it, as in Keycloak.
const (
	sectorURI = "sectorIdentifierUri"
	salt      = "pairwiseSubAlgorithmSalt"
)

// Subject is what a client knows a person by: sub in all its tokens and
// answers, whatever the scope.
func (m *Maker) Subject(r realm.Realm, c client.Client, userID string) string {
	return m.plan(r, c, "").subject(userID)
}

// subjects returns how a client knows people: by their ids, or by Keycloak's
// pairwise subjects, if one of its mappers or those of its scopes says so.
func subjects(r realm.Realm, c client.Client) func(userID string) string {
	m, ok := pairwiseMapper(r, c)
	if !ok {
		return func(userID string) string { return userID }
	}
	sector, err := sectorOf(m, c)
	if err != nil {
		sector = c.ClientID // CheckSubject keeps such out; whoever it comes from, nobody is known by their id
	}
	return func(userID string) string {
		sum := sha256.Sum256([]byte(sector + userID + m.Config[salt]))
		id := uuid.UUID(md5.Sum(sum[:])) //nolint:gosec // Java's UUID.nameUUIDFromBytes
		id[6] = id[6]&0x0f | 0x30
		id[8] = id[8]&0x3f | 0x80
		return id.String()
	}
}

// pairwiseMapper looks in all scopes of the client: what somebody is called
// must not depend on the one that is granted today.
func pairwiseMapper(r realm.Realm, c client.Client) (realm.Mapper, bool) {
	mappers := slices.Clone(c.Mappers)
	for _, name := range slices.Concat(c.DefaultClientScopes, c.OptionalClientScopes) {
		s, _ := r.Settings.ClientScope(name)
		mappers = append(mappers, s.Mappers...)
	}
	i := slices.IndexFunc(mappers, func(m realm.Mapper) bool { return m.Type == pairwise })
	if i < 0 {
		return realm.Mapper{}, false
	}
	return mappers[i], true
}

// sectorOf is the sector identifier: a host, the sector URI's or that of all
// redirect URIs (OpenID Connect Core §8.1). The sector URI is not fetched:
// whoever configures a client here says what its redirect URIs are.
func sectorOf(m realm.Mapper, c client.Client) (string, error) {
	if uri := m.Config[sectorURI]; uri != "" {
		return hostOf(uri)
	}
	var sector string
	for _, uri := range c.RedirectURIs {
		host, err := hostOf(uri)
		switch {
		case err != nil:
			return "", errors.New("client redirect URIs must contain a valid host component")
		case sector != "" && sector != host:
			return "", errors.New("without a configured " + sectorURI + ", client redirect URIs must not contain multiple host components")
		}
		sector = host
	}
	if sector == "" {
		return "", errors.New(sectorURI + " is empty, and there is no redirect URI")
	}
	return sector, nil
}

// hostOf is a URI's host without its port, an IPv6 address in its brackets
// (java.net.URI).
func hostOf(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return "", errors.New("malformed " + sectorURI)
	}
	host := u.Host
	if port := u.Port(); port != "" {
		host = host[:len(host)-len(port)-1]
	}
	return host, nil
}

// pairwiseSubject checks the mapper; what it does is Subject's.
func pairwiseSubject(c config) (rule, error) {
	if c[salt] == "" {
		return nil, errors.New(salt + " is empty: any text will do, if it never changes")
	}
	if uri := c[sectorURI]; uri != "" {
		if _, err := hostOf(uri); err != nil {
			return nil, err
		}
	}
	return nothing(c)
}

// CheckSubject finds why a client that wants pairwise subjects can have none.
func CheckSubject(r realm.Realm, c client.Client) error {
	m, ok := pairwiseMapper(r, c)
	if !ok {
		return nil
	}
	_, err := sectorOf(m, c)
	return err
}
