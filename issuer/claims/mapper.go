package claims

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/tegata/tegata/issuer/realm"
)

// rule is a compiled mapper.
type rule func(b *bearer, out *Claims)

// hardcodedRole is the mapper that other mappers see the effect of.
const hardcodedRole = "oidc-hardcoded-role-mapper"

// kinds are Keycloak's protocol mappers, by their type.
var kinds = map[string]func(config) (rule, error){
	"oidc-usermodel-attribute-mapper":   attribute,
	"oidc-usermodel-property-mapper":    property,
	"oidc-full-name-mapper":             fullName,
	"oidc-address-mapper":               address,
	"oidc-hardcoded-claim-mapper":       hardcodedClaim,
	"oidc-group-membership-mapper":      groups,
	"oidc-usermodel-realm-role-mapper":  realmRoles,
	"oidc-usermodel-client-role-mapper": clientRoles,
	hardcodedRole:                       role,
	"oidc-audience-mapper":              audience,
	"oidc-audience-resolve-mapper":      audienceResolve,

	// What these would add is in every token anyway: sub, acr, allowed-origins.
	"oidc-sub-mapper":             nothing,
	"oidc-acr-mapper":             nothing,
	"oidc-allowed-origins-mapper": nothing,

	// What these do is not done mint by mint: see Ask and Subject.
	claimsParameter: nothing,

	// For what old adapters of Keycloak look for.
	"oidc-nonce-backwards-compatible-mapper": old(func(out *Claims) { out.Nonce = true }),
	"oidc-session-state-mapper":              old(func(out *Claims) { out.SessionState = true }),

	// What these are about is not here, see ReleasesNothing.
	sessionNote:                           nothing,
	"oidc-amr-mapper":                     nothing,
	"oidc-organization-membership-mapper": nothing,
	pairwise:                              pairwiseSubject,
}

// sessionNote is the mapper for notes of a user session, of which there are
// none here.
const sessionNote = "oidc-usersessionmodel-note-mapper"

// always are the notes, under the claims' names, that tokens here state anyway.
var always = map[string]string{"auth_time": "AUTH_TIME", "client_id": "client_id"}

// ReleasesNothing reports whether a mapper is understood, but what it would
// release is not here: Keycloak's notes, organizations, authenticators.
func ReleasesNothing(m realm.Mapper) bool {
	switch m.Type {
	case sessionNote:
		note, ok := always[m.Config["claim.name"]]
		return !ok || m.Config["user.session.note"] != note
	case "oidc-amr-mapper", "oidc-organization-membership-mapper":
		return true
	}
	return false
}

// Check finds what is wrong with a mapper of a realm or client.
func Check(m realm.Mapper) error {
	_, err := compile(m)
	return err
}

func compile(m realm.Mapper) (rule, error) {
	kind, ok := kinds[m.Type]
	if !ok {
		return nil, fmt.Errorf("protocol mapper %.100q: unknown protocolMapper %.100q", m.Name, m.Type)
	}
	compiled, err := kind(m.Config)
	if err != nil {
		return nil, fmt.Errorf("protocol mapper %.100q: %w", m.Name, err)
	}
	return compiled, nil
}

// config is what configures a mapper, under Keycloak's keys.
type config map[string]string

func (c config) is(key string) bool { return c[key] == "true" }

// destinations are where a mapper's claim goes: to access tokens, ID tokens,
// UserInfo and introspection, in the order of Claims.maps.
type destinations [4]bool

// destinations reads them. What does not say a word of UserInfo or
// introspection goes there with the token that it is in (Keycloak).
func (c config) destinations() destinations {
	or := func(key, otherwise string) bool {
		if _, said := c[key]; said {
			return c.is(key)
		}
		return c.is(otherwise)
	}
	return destinations{
		c.is("access.token.claim"), c.is("id.token.claim"),
		or("userinfo.token.claim", "id.token.claim"), or("introspection.token.claim", "access.token.claim"),
	}
}

// client reports whether the claim goes to the client, in any way.
func (d destinations) client() bool { return d[1] || d[2] }

// each calls put with each map that the claim goes to.
func (d destinations) each(out *Claims, put func(map[string]any)) {
	for i, m := range out.maps() {
		if d[i] {
			put(m)
		}
	}
}

// claim is the rule that releases values under claim.name, as jsonType.label
// and multivalued say.
func (c config) claim(values func(b *bearer) []string) (rule, error) { return c.release(values, set) }

// roles is claim for roles: several mappers may fill one claim (Keycloak).
func (c config) roles(values func(b *bearer) []string) (rule, error) { return c.release(values, merge) }

func (c config) release(values func(b *bearer) []string, put put) (rule, error) {
	path, err := splitPath(c["claim.name"])
	if err != nil {
		return nil, err
	}
	write, err := c.writer(put)
	if err != nil {
		return nil, err
	}
	return func(b *bearer, out *Claims) { write(out, path, values(b)) }, nil
}

// put is set or merge.
type put func(m map[string]any, path []string, value any)

// writer is what puts values at a path, as the configuration says.
func (c config) writer(put put) (func(out *Claims, path, values []string), error) {
	convert, err := converter(c["jsonType.label"])
	if err != nil {
		return nil, err
	}
	many, to := c.is("multivalued"), c.destinations()
	return func(out *Claims, path, values []string) {
		var converted []any
		for _, value := range values {
			if v, ok := convert(value); ok {
				converted = append(converted, v)
			}
		}
		if len(converted) == 0 {
			return
		}
		to.each(out, func(m map[string]any) {
			if many {
				put(m, path, slices.Clone(converted))
			} else {
				put(m, path, converted[0])
			}
		})
	}, nil
}

func attribute(c config) (rule, error) {
	name := c["user.attribute"]
	if name == "" {
		return nil, errors.New("user.attribute is empty")
	}
	return c.claim(func(b *bearer) []string { return b.attribute(name) })
}

func property(c config) (rule, error) {
	switch name := c["user.attribute"]; name {
	case "username", "email", "firstName", "lastName":
		return attribute(c)
	case "id":
		return c.claim(func(b *bearer) []string { return filled(b.r.User.ID) })
	case "emailVerified":
		return c.claim(func(b *bearer) []string { return []string{strconv.FormatBool(b.r.User.EmailVerified)} })
	default:
		return nil, fmt.Errorf("user.attribute %.100q is no property of a user", name)
	}
}

func fullName(c config) (rule, error) {
	to := c.destinations()
	return func(b *bearer, out *Claims) {
		name := strings.TrimSpace(b.r.User.FirstName + " " + b.r.User.LastName)
		if name == "" {
			return
		}
		to.each(out, func(m map[string]any) { m["name"] = name })
	}, nil
}

// address is the claim of OpenID Connect Core §5.1.1, of attributes that the
// configuration may call otherwise.
func address(c config) (rule, error) {
	attributes := make(map[string]string)
	for _, member := range []string{"formatted", "street", "locality", "region", "postal_code", "country"} {
		name := member
		if renamed := c["user.attribute."+member]; renamed != "" {
			name = renamed
		}
		if member == "street" {
			member = "street_address"
		}
		attributes[member] = name
	}
	to := c.destinations()
	return func(b *bearer, out *Claims) {
		to.each(out, func(m map[string]any) {
			parts := make(map[string]any)
			for member, name := range attributes {
				if values := b.attribute(name); len(values) > 0 {
					parts[member] = values[0]
				}
			}
			if len(parts) > 0 {
				m["address"] = parts
			}
		})
	}, nil
}

func hardcodedClaim(c config) (rule, error) {
	value := c["claim.value"]
	convert, err := converter(c["jsonType.label"])
	if err != nil {
		return nil, err
	}
	if _, ok := convert(value); !ok {
		return nil, fmt.Errorf("claim.value is no %s", c["jsonType.label"])
	}
	return c.claim(func(*bearer) []string { return []string{value} })
}

// groups are a person's groups by their paths, or by their names with
// full.path false.
func groups(c config) (rule, error) {
	path, err := splitPath(c["claim.name"])
	if err != nil {
		return nil, err
	}
	names, to := c["full.path"] == "false", c.destinations()
	return func(b *bearer, out *Claims) {
		membership := []any{}
		for _, group := range b.r.User.Groups {
			found := b.r.Realm.Settings.GroupPath(group)
			switch {
			case len(found) == 0:
			case names:
				membership = append(membership, found[len(found)-1].Name)
			default:
				membership = append(membership, group)
			}
		}
		to.each(out, func(m map[string]any) { set(m, path, slices.Clone(membership)) })
	}, nil
}

func realmRoles(c config) (rule, error) {
	prefix := c["usermodel.realmRoleMapping.rolePrefix"]
	return c.roles(func(b *bearer) []string { return prefixed(prefix, sorted(b.roles.realm)) })
}

// clientRoles are the roles of one client or, without its id, of each. The
// claim's name may have the client's id in it.
func clientRoles(c config) (rule, error) {
	prefix, only := c["usermodel.clientRoleMapping.rolePrefix"], c["usermodel.clientRoleMapping.clientId"]
	write, err := c.writer(merge)
	if err != nil {
		return nil, err
	}
	of := func(id string) ([]string, error) {
		return splitPath(strings.ReplaceAll(c["claim.name"], "${client_id}", escapePath(id)))
	}
	fixed, err := of(cmp.Or(only, "id"))
	if err != nil {
		return nil, err
	}
	if only != "" {
		return func(b *bearer, out *Claims) { write(out, fixed, prefixed(prefix, sorted(b.roles.client[only]))) }, nil
	}
	return func(b *bearer, out *Claims) {
		for _, id := range sorted(b.roles.client) {
			if path, err := of(id); err == nil {
				write(out, path, prefixed(prefix, sorted(b.roles.client[id])))
			}
		}
	}, nil
}

func prefixed(prefix string, names []string) []string {
	for i := range names {
		names[i] = prefix + names[i]
	}
	return names
}

// role gives everybody a role in the client's tokens: "name" of the realm or
// "client.name" (Keycloak).
func role(c config) (rule, error) {
	id, name, ofClient := strings.Cut(c["role"], ".")
	switch {
	case c["role"] == "", ofClient && (id == "" || name == ""):
		return nil, fmt.Errorf("role %.100q: want name or client.name", c["role"])
	case ofClient:
		return func(b *bearer, _ *Claims) {
			b.roles.grant(b.r.Realm.Settings.Roles, realm.Roles{Client: map[string][]string{id: {name}}})
		}, nil
	}
	return func(b *bearer, _ *Claims) {
		b.roles.grant(b.r.Realm.Settings.Roles, realm.Roles{Realm: []string{id}})
	}, nil
}

// audience adds a client or any other name to aud of access tokens.
func audience(c config) (rule, error) {
	name := c["included.client.audience"]
	if name == "" {
		name = c["included.custom.audience"]
	}
	if name == "" {
		return nil, errors.New("included.client.audience and included.custom.audience are empty")
	}
	if !c.is("access.token.claim") {
		return nothing(c)
	}
	return func(b *bearer, _ *Claims) { b.add(name) }, nil
}

// audienceResolve adds every other client whose roles somebody has.
func audienceResolve(c config) (rule, error) {
	if c["access.token.claim"] == "false" {
		return nothing(c)
	}
	return func(b *bearer, _ *Claims) {
		for _, id := range sorted(b.roles.client) {
			if id != b.r.Client.ClientID {
				b.add(id)
			}
		}
	}, nil
}

// old is a rule for access tokens that sets something of the protocol's.
func old(set func(*Claims)) func(config) (rule, error) {
	return func(c config) (rule, error) {
		if c["access.token.claim"] == "false" {
			return nothing(c)
		}
		return func(_ *bearer, out *Claims) { set(out) }, nil
	}
}

func nothing(config) (rule, error) { return func(*bearer, *Claims) {}, nil }

// maxDepth of claims in claims.
const maxDepth = 10

// splitPath reads a claim.name: dots separate the names of claims in claims,
// unless there is a backslash before them (Keycloak).
func splitPath(name string) ([]string, error) {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) { // the last: not UTF-8
		return nil, fmt.Errorf("claim.name %.100q: has characters that no claim has", name)
	}
	const dot = "\x00" // is not in it
	parts := strings.Split(strings.ReplaceAll(name, `\.`, dot), ".")
	for i := range parts {
		if parts[i] = strings.ReplaceAll(parts[i], dot, "."); parts[i] == "" {
			return nil, fmt.Errorf("claim.name %.100q: a name is empty", name)
		}
	}
	if len(parts) > maxDepth {
		return nil, fmt.Errorf("claim.name %.100q: want at most %d levels", name, maxDepth)
	}
	return parts, nil
}

func escapePath(name string) string { return strings.ReplaceAll(name, ".", `\.`) }

// set puts a value where the path says. What is no object does not become one.
func set(m map[string]any, path []string, value any) {
	if m = inside(m, path); m != nil {
		m[path[len(path)-1]] = value
	}
}

// merge is set, but adds a list to the list that is there.
func merge(m map[string]any, path []string, value any) {
	if m = inside(m, path); m == nil {
		return
	}
	name := path[len(path)-1]
	old, _ := m[name].([]any)
	more, isList := value.([]any)
	if old == nil || !isList {
		m[name] = value
		return
	}
	for _, v := range more {
		if !slices.ContainsFunc(old, func(o any) bool { return reflect.DeepEqual(o, v) }) { // JSON may not be comparable
			old = append(old, v)
		}
	}
	m[name] = old
}

// inside is the object that the last name of a path stands in; nil if there
// can be none.
func inside(m map[string]any, path []string) map[string]any {
	for ; len(path) > 1; path = path[1:] {
		inner, there := m[path[0]]
		if !there {
			inner = make(map[string]any)
			m[path[0]] = inner
		}
		object, ok := inner.(map[string]any)
		if !ok {
			return nil
		}
		m = object
	}
	return m
}

// converter makes JSON values of text, as a jsonType.label says. What is no
// such value is not released.
func converter(label string) (func(string) (any, bool), error) {
	switch label {
	case "", "String":
		return func(s string) (any, bool) { return s, true }, nil
	case "long", "int":
		return func(s string) (any, bool) {
			n, err := strconv.ParseInt(s, 10, 64)
			return n, err == nil
		}, nil
	case "boolean":
		return func(s string) (any, bool) {
			return strings.EqualFold(s, "true"), true // all else is false (Keycloak)
		}, nil
	case "JSON":
		return func(s string) (any, bool) { return json.RawMessage(s), json.Valid([]byte(s)) }, nil
	}
	return nil, fmt.Errorf("jsonType.label %.100q is unknown", label)
}
