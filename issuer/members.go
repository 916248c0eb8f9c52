package issuer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

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

// definitions are the roles of the file, and the realm's default role.
func (file Realm) definitions() realm.RoleDefinitions {
	defined := realm.RoleDefinitions{Realm: roles(file.Roles.Realm)}
	name := file.defaultRole()
	i := slices.IndexFunc(defined.Realm, func(r realm.Role) bool { return r.Name == name })
	if i < 0 {
		i = len(defined.Realm)
		defined.Realm = append(defined.Realm, realm.Role{Name: name, Composites: everybodys()})
	}
	composites := &defined.Realm[i].Composites
	composites.Realm = slices.Concat(composites.Realm, file.DefaultRoles)
	for id, list := range file.Roles.Client {
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

// defaultRole is the name of the realm's default role.
func (file Realm) defaultRole() string {
	if file.DefaultRole != nil {
		return file.DefaultRole.Name
	}
	return "default-roles-" + strings.ToLower(file.Realm)
}

// everybodys is what is in the default role of a fresh realm (Keycloak 26).
func everybodys() realm.Roles {
	return realm.Roles{
		Realm:  []string{"offline_access", "uma_authorization"},
		Client: map[string][]string{"account": {"manage-account", "view-profile"}},
	}
}

// given is what other parts of a realm file give to a client.
type given struct{ account, scope realm.Roles }

func (file Realm) given(clientID string) given {
	return given{file.serviceAccount(clientID), file.mapped(func(m ScopeMapping) bool { return m.Client == clientID })}
}

// mapped are the roles of the scope mappings that are meant.
func (file Realm) mapped(meant func(ScopeMapping) bool) realm.Roles {
	var all realm.Roles
	for _, m := range file.ScopeMappings {
		if meant(m) {
			all.Realm = append(all.Realm, m.Roles...)
		}
	}
	for id, mappings := range file.ClientScopeMappings {
		for _, m := range mappings {
			if !meant(m) {
				continue
			}
			if all.Client == nil {
				all.Client = make(map[string][]string)
			}
			all.Client[id] = append(all.Client[id], m.Roles...)
		}
	}
	return all
}

// mapScopes gives the client scopes of s the roles of the file's mappings. One
// that is built in is then the realm's own.
func (file Realm) mapScopes(s *realm.Settings) {
	done := make(map[string]bool)
	for _, m := range file.allMappings() {
		name := m.ClientScope
		scope, ok := s.ClientScope(name)
		if !ok || done[name] {
			continue
		}
		done[name] = true
		scope.Roles = file.mapped(func(m ScopeMapping) bool { return m.ClientScope == name })
		if i := slices.IndexFunc(s.ClientScopes, func(c realm.ClientScope) bool { return c.Name == name }); i >= 0 {
			s.ClientScopes[i] = scope
		} else {
			s.ClientScopes = append(s.ClientScopes, scope)
		}
	}
}

func (file Realm) allMappings() []ScopeMapping {
	all := slices.Clone(file.ScopeMappings)
	for _, id := range slices.Sorted(maps.Keys(file.ClientScopeMappings)) {
		all = append(all, file.ClientScopeMappings[id]...)
	}
	return all
}

// checkScopeMappings finds mappings to what is not there.
func (file Realm) checkScopeMappings() error {
	s := file.settings()
	for _, m := range file.allMappings() {
		switch _, isScope := s.ClientScope(m.ClientScope); {
		case (m.Client == "") == (m.ClientScope == ""):
			return fmt.Errorf("realm %s: a scope mapping is of a client or of a clientScope", file.Realm)
		case m.ClientScope != "" && !isScope:
			return fmt.Errorf("realm %s: scope mapping: there is no client scope %q", file.Realm, m.ClientScope)
		case m.Client != "" && !slices.ContainsFunc(file.Clients, func(c Client) bool { return c.ClientID == m.Client }):
			return fmt.Errorf("realm %s: scope mapping: there is no client %q", file.Realm, m.Client)
		}
	}
	if file.DefaultRole != nil && file.DefaultRole.Name == "" {
		return fmt.Errorf("realm %s: defaultRole has no name", file.Realm)
	}
	return nil
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
		made := client.Client{Mappers: mappers(c.ProtocolMappers), RedirectURIs: c.redirects()}
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
