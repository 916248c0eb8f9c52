package realm

import (
	"errors"
	"fmt"
	"slices"
)

// ClientScope is a scope that clients of a realm may be given, and what it
// releases: Keycloak's client scope.
type ClientScope struct {
	Name       string            `json:"name"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Mappers    []Mapper          `json:"protocolMappers,omitempty"`
	Roles      Roles             `json:"scopeMappings,omitzero"` // that it lets tokens name, of clients that may not name all
}

// Mapper is one of Keycloak's protocol mappers: it releases a claim, an
// audience or a role. Package claims knows the types and what configures them.
type Mapper struct {
	Name   string            `json:"name"`
	Type   string            `json:"protocolMapper"`
	Config map[string]string `json:"config,omitempty"`
}

// Shown reports whether a granted scope is named in scope values. Those that
// are not are how a client is set up rather than what somebody may do (Keycloak).
func (s ClientScope) Shown() bool { return s.Attributes["include.in.token.scope"] != "false" }

// ClientScope returns the scope of that name. One that the realm defines
// itself replaces the built-in one.
func (s Settings) ClientScope(name string) (ClientScope, bool) {
	for _, scopes := range [][]ClientScope{s.ClientScopes, builtIn} {
		if i := slices.IndexFunc(scopes, func(c ClientScope) bool { return c.Name == name }); i >= 0 {
			return scopes[i], true
		}
	}
	return ClientScope{}, false
}

// ScopeNames are the scopes of the realm, for discovery: the built-in ones
// first, then its own; as in Keycloak also those that are not shown.
func (s Settings) ScopeNames() []string {
	var names []string
	for _, scope := range slices.Concat(builtIn, s.ClientScopes) {
		if !slices.Contains(names, scope.Name) {
			names = append(names, scope.Name)
		}
	}
	return names
}

// The client scopes of a client that names none of its own (Keycloak 26).
var (
	defaultScopes  = []string{"web-origins", "acr", "profile", "roles", "basic", "email"}
	optionalScopes = []string{"address", "phone", "offline_access", "microprofile-jwt"}
)

// builtIn are the client scopes of every realm: Keycloak 26's, with its
// mappers. Those without any set what tokens here always say: basic is sub and
// auth_time, acr and web-origins (allowed-origins) are what they are called.
var builtIn = []ClientScope{
	{Name: "profile", Mappers: append([]Mapper{
		everywhere("full name", "oidc-full-name-mapper", nil),
		property("username", "preferred_username", "String"),
		property("firstName", "given_name", "String"),
		property("lastName", "family_name", "String"),
		attribute("updatedAt", "updated_at", "long"),
		attribute("middleName", "middle_name", "String"),
	}, sameName("nickname", "profile", "picture", "website", "gender", "birthdate", "zoneinfo", "locale")...)},
	{Name: "email", Mappers: []Mapper{
		property("email", "email", "String"),
		property("emailVerified", "email_verified", "boolean"),
	}},
	{Name: "address", Mappers: []Mapper{everywhere("address", "oidc-address-mapper", nil)}},
	{Name: "phone", Mappers: []Mapper{
		attribute("phoneNumber", "phone_number", "String"),
		attribute("phoneNumberVerified", "phone_number_verified", "boolean"),
	}},
	{Name: "offline_access", Roles: Roles{Realm: []string{"offline_access"}}},
	{Name: "microprofile-jwt", Mappers: []Mapper{
		property("username", "upn", "String"),
		everywhere("groups", "oidc-usermodel-realm-role-mapper", map[string]string{"claim.name": "groups", "multivalued": "true", "jsonType.label": "String"}),
	}},
	hidden(ClientScope{Name: "roles", Mappers: []Mapper{
		inAccess("realm roles", "oidc-usermodel-realm-role-mapper", map[string]string{"claim.name": "realm_access.roles", "multivalued": "true"}),
		inAccess("client roles", "oidc-usermodel-client-role-mapper", map[string]string{"claim.name": "resource_access.${client_id}.roles", "multivalued": "true"}),
		inAccess("audience resolve", "oidc-audience-resolve-mapper", nil),
	}}),
	hidden(ClientScope{Name: "web-origins"}),
	hidden(ClientScope{Name: "acr"}),
	hidden(ClientScope{Name: "basic"}),
}

func hidden(s ClientScope) ClientScope {
	s.Attributes = map[string]string{"include.in.token.scope": "false"}
	return s
}

func property(name, claim, kind string) Mapper {
	return everywhere(name, "oidc-usermodel-property-mapper", map[string]string{"user.attribute": name, "claim.name": claim, "jsonType.label": kind})
}

func attribute(name, claim, kind string) Mapper {
	return everywhere(name, "oidc-usermodel-attribute-mapper", map[string]string{"user.attribute": name, "claim.name": claim, "jsonType.label": kind})
}

// sameName are attributes whose claims are called as they are.
func sameName(names ...string) []Mapper {
	mappers := make([]Mapper, len(names))
	for i, name := range names {
		mappers[i] = attribute(name, name, "String")
	}
	return mappers
}

// everywhere is a mapper for access and ID tokens, UserInfo and introspection.
func everywhere(name, kind string, config map[string]string) Mapper {
	m := inAccess(name, kind, config)
	m.Config["id.token.claim"], m.Config["userinfo.token.claim"] = "true", "true"
	return m
}

// inAccess is a mapper for access tokens and introspection.
func inAccess(name, kind string, config map[string]string) Mapper {
	if config == nil {
		config = make(map[string]string)
	}
	config["access.token.claim"], config["introspection.token.claim"] = "true", "true"
	return Mapper{Name: name, Type: kind, Config: config}
}

func (s Settings) checkScopes() error {
	if len(s.ClientScopes) > maxScopes {
		return fmt.Errorf("%d scopes: want at most %d", len(s.ClientScopes), maxScopes)
	}
	seen := make(map[string]bool)
	for _, scope := range s.ClientScopes {
		if scope.Name == "" || len(scope.Name) > maxScope {
			return errors.New("a scope is empty or too long")
		}
		if seen[scope.Name] {
			return fmt.Errorf("scope %s is there twice", scope.Name)
		}
		seen[scope.Name] = true
	}
	return nil
}
