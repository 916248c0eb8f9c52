package issuer

import (
	"fmt"

	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// This file turns the scopes, roles and groups of a realm file into values.

// scopes are the client scopes of a client: the realm's default ones unless
// the file names some. Naming only one of both kinds leaves the other empty
// (Keycloak).
func (file Client) scopes(s realm.Settings) (always, optional []string) {
	if file.DefaultClientScopes == nil && file.OptionalClientScopes == nil {
		return s.DefaultClientScopes, s.OptionalClientScopes
	}
	return some(file.DefaultClientScopes), some(file.OptionalClientScopes)
}

// some makes an empty list none: as it is when it is read from the store again.
func some(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}

func mappers(file []ProtocolMapper) []realm.Mapper {
	var all []realm.Mapper
	for _, m := range file {
		all = append(all, m.mapper())
	}
	return all
}

func (m ProtocolMapper) mapper() realm.Mapper {
	return realm.Mapper{Name: m.Name, Type: m.ProtocolMapper, Config: m.Config}
}

func (file Roles) definitions() realm.RoleDefinitions {
	defined := realm.RoleDefinitions{Realm: roles(file.Realm)}
	for id, list := range file.Client {
		if defined.Client == nil {
			defined.Client = make(map[string][]realm.Role)
		}
		defined.Client[id] = roles(list)
	}
	return defined
}

func roles(file []Role) []realm.Role {
	var all []realm.Role
	for _, r := range file {
		all = append(all, realm.Role{Name: r.Name, Composites: realm.Roles{Realm: r.Composites.Realm, Client: r.Composites.Client}})
	}
	return all
}

func groups(file []Group) []realm.Group {
	var all []realm.Group
	for _, g := range file {
		all = append(all, realm.Group{
			Name: g.Name, Attributes: g.Attributes, SubGroups: groups(g.SubGroups),
			Roles: realm.Roles{Realm: g.RealmRoles, Client: g.ClientRoles},
		})
	}
	return all
}

// serviceAccount are the roles of a client that acts for itself.
func (file Realm) serviceAccount(clientID string) realm.Roles {
	for _, u := range file.Users {
		if u.ServiceAccountClientID == clientID {
			return realm.Roles{Realm: u.RealmRoles, Client: u.ClientRoles}
		}
	}
	return realm.Roles{}
}

// checkMappers finds mappers that would release nothing.
func (file Realm) checkMappers() error {
	r := realm.Realm{Settings: file.settings().WithDefaults()}
	for _, scope := range file.ClientScopes {
		if err := checkProtocol(scope.Protocol); err != nil {
			return fmt.Errorf("realm %s: client scope %s: %w", file.Realm, scope.Name, err)
		}
		if err := checkEach(scope.ProtocolMappers); err != nil {
			return fmt.Errorf("realm %s: client scope %s: %w", file.Realm, scope.Name, err)
		}
	}
	for _, c := range file.Clients {
		if err := checkEach(c.ProtocolMappers); err != nil {
			return fmt.Errorf("realm %s: client %s: %w", file.Realm, c.ClientID, err)
		}
		made := client.Client{Mappers: mappers(c.ProtocolMappers), RedirectURIs: c.RedirectURIs}
		made.DefaultClientScopes, made.OptionalClientScopes = c.scopes(r.Settings)
		if err := claims.CheckSubject(r, made); err != nil {
			return fmt.Errorf("realm %s: client %s: %w", file.Realm, c.ClientID, err)
		}
	}
	return nil
}

func checkEach(mappers []ProtocolMapper) error {
	for _, m := range mappers {
		if err := checkProtocol(m.Protocol); err != nil {
			return fmt.Errorf("protocol mapper %s: %w", m.Name, err)
		}
		if err := claims.Check(m.mapper()); err != nil {
			return err
		}
	}
	return nil
}

func checkProtocol(name string) error {
	if name != "" && name != "openid-connect" {
		return fmt.Errorf("protocol %q: want openid-connect", name)
	}
	return nil
}

// checkMembers finds people in groups that are not there, and service accounts
// of no client.
func (file Realm) checkMembers() error {
	s := realm.Settings{Groups: groups(file.Groups)}
	accounts := make(map[string]bool)
	for _, c := range file.Clients {
		accounts[c.ClientID] = c.ServiceAccountsEnabled
	}
	for _, u := range file.Users {
		for _, path := range u.Groups {
			if s.GroupPath(path) == nil {
				return fmt.Errorf("realm %s: user %s: there is no group %q", file.Realm, u.Username, path)
			}
		}
		switch id := u.ServiceAccountClientID; {
		case id == "":
		case !accounts[id]:
			return fmt.Errorf("realm %s: user %s: client %q has no service account", file.Realm, u.Username, id)
		case len(u.Groups)+len(u.Attributes)+len(u.Credentials) > 0:
			return fmt.Errorf("realm %s: user %s: a service account has roles and nothing else", file.Realm, u.Username)
		}
	}
	return nil
}
