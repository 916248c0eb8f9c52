// Package claims says what tokens, UserInfo and introspection release about a
// person: what the granted scopes and the client's protocol mappers let out. It
// must not know how a token is signed, nor where people are kept.
//
// The claims that the protocol itself sets (iss, sub, exp, sid, rev …) are not
// its business; package token sets them, and lets nothing from here replace one.
package claims

import (
	"maps"
	"slices"
	"strings"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/user"
)

// Request is for whom claims are made.
type Request struct {
	Realm  realm.Realm
	Client client.Client
	User   user.User
	Scope  string // granted, space separated
	Named  Named  // what was asked for beyond it, see Ask
}

// Claims are what is released, for each kind of recipient.
type Claims struct {
	Access        map[string]any // in access tokens
	ID            map[string]any // in ID tokens
	UserInfo      map[string]any // at UserInfo, without sub
	Introspection map[string]any // at introspection
	Audience      []string       // aud of access tokens; empty: the default
	Nonce         bool           // whether access tokens say it
	SessionState  bool           // whether access tokens say sid as session_state, too
	Subject       string         // sub, everywhere; of a person, see Maker.Subject
}

// granted is the claim of RFC 9396 §9, which is no mapper's to make up.
const granted = "authorization_details"

// For returns the claims of one person for one client. Who gets them may
// change them.
func (m *Maker) For(r Request) Claims {
	p := m.plan(r.Realm, r.Client, r.Scope)
	out := p.release(r)
	p.releaseNamed(r, &out)
	out.Subject = p.subject(r.User.ID)
	return out
}

// release is what the mappers of the granted scopes and of the client release.
func (p *plan) release(r Request) Claims {
	out := newClaims()
	b := &bearer{r: r, roles: p.effective(r)}
	b.add(r.Client.Audience...)
	for _, release := range p.rules {
		release(b, &out)
	}
	for _, m := range out.maps() {
		delete(m, granted) // whoever mints knows what was granted
	}
	out.Audience = b.audience
	return out
}

func newClaims() Claims {
	return Claims{
		Access: make(map[string]any), ID: make(map[string]any),
		UserInfo: make(map[string]any), Introspection: make(map[string]any),
	}
}

func (c *Claims) maps() [4]map[string]any {
	return [4]map[string]any{c.Access, c.ID, c.UserInfo, c.Introspection}
}

// ForClient returns the claims of a client that acts for itself: those of its
// service account, Keycloak's user of that name, whose id here is the client's.
// The name is there with any scope: it says what kind of token this is.
//
// They depend on nothing else, so all who ask get the same: nobody may change
// what is in them.
func (m *Maker) ForClient(r realm.Realm, c client.Client, scope string) Claims {
	p := m.plan(r, c, scope)
	p.once.Do(func() { p.account = p.forAccount(r, c, c, scope) })
	return p.account
}

// ForAccount returns the claims of the service account of one client for
// another, which was given its token.
func (m *Maker) ForAccount(r realm.Realm, c, account client.Client, scope string) Claims {
	return m.plan(r, c, scope).forAccount(r, c, account, scope)
}

func (p *plan) forAccount(r realm.Realm, c, account client.Client, scope string) Claims {
	name := accountPrefix + account.ClientID
	out := p.release(Request{Realm: r, Client: c, Scope: scope, User: user.User{
		ID: account.ID, RealmID: account.RealmID, Username: name, Roles: account.ServiceAccount,
	}})
	out.Access[accountName], out.Introspection[accountName] = name, name
	out.Subject = account.ID
	return out
}

// Of service accounts: what their names begin with, and the claim that has them.
const (
	accountPrefix = "service-account-"
	accountName   = "preferred_username"
)

// Account is the client_id of the service account that the claims of a token
// without a session are about.
func Account(token map[string]any) (clientID string, ok bool) {
	name, _ := token[accountName].(string)
	return strings.CutPrefix(name, accountPrefix)
}

// bearer is whom a token is about, while its claims are collected.
type bearer struct {
	r        Request
	roles    roles
	audience []string
}

// add adds to the audience what is not in it yet.
func (b *bearer) add(audience ...string) {
	for _, name := range audience {
		if !slices.Contains(b.audience, name) {
			b.audience = append(b.audience, name)
		}
	}
}

// attribute is what a person's attribute says; if nothing, what it says of
// their groups, the nearest first (Keycloak).
func (b *bearer) attribute(name string) []string {
	u := b.r.User
	var own []string
	switch name {
	case "username":
		own = filled(u.Username)
	case "email":
		own = filled(u.Email)
	case "firstName":
		own = filled(u.FirstName)
	case "lastName":
		own = filled(u.LastName)
	default:
		own = u.Attributes[name]
	}
	if len(own) > 0 {
		return own
	}
	for _, path := range u.Groups {
		groups := b.r.Realm.Settings.GroupPath(path)
		for _, g := range slices.Backward(groups) {
			if values := g.Attributes[name]; len(values) > 0 {
				return values
			}
		}
	}
	return nil
}

func filled(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// roles are somebody's effective roles.
type roles struct {
	realm  map[string]bool
	client map[string]map[string]bool // by client id
}

func noRoles() roles {
	return roles{realm: make(map[string]bool), client: make(map[string]map[string]bool)}
}

// effective are the roles of a person that the client's tokens may name: their
// own, their groups' and all that are in those.
func (p *plan) effective(r Request) roles {
	all := noRoles()
	s := r.Realm.Settings
	all.grant(s.Roles, r.User.Roles)
	for _, path := range r.User.Groups {
		for _, g := range s.GroupPath(path) {
			all.grant(s.Roles, g.Roles)
		}
	}
	if p.scope != nil {
		all.within(*p.scope, r.Client.ClientID)
	}
	return all
}

// scopeRoles are what the tokens of a client may name that may not name all:
// what is mapped to it and to the scopes, what is in its own roles, and all that
// are in those (Keycloak). Its own roles themselves it may name in any case.
func scopeRoles(r realm.Realm, c client.Client, scopes []string) *roles {
	if c.AllRoles() {
		return nil
	}
	may, defined := noRoles(), r.Settings.Roles
	for _, own := range defined.Client[c.ClientID] {
		may.grant(defined, realm.Roles{Client: map[string][]string{c.ClientID: {own.Name}}})
	}
	may.grant(defined, c.ScopeRoles)
	for _, name := range scopes {
		s, _ := r.Settings.ClientScope(name)
		may.grant(defined, s.Roles)
	}
	return &may
}

// within takes away what is neither in may nor the client's.
func (all roles) within(may roles, clientID string) {
	maps.DeleteFunc(all.realm, func(name string, _ bool) bool { return !may.realm[name] })
	for id, names := range all.client {
		if id != clientID {
			maps.DeleteFunc(names, func(name string, _ bool) bool { return !may.client[id][name] })
		}
		if len(names) == 0 {
			delete(all.client, id)
		}
	}
}

// grant adds roles and what is in them; a circle of them ends where it began.
func (all roles) grant(defined realm.RoleDefinitions, more realm.Roles) {
	for _, name := range more.Realm {
		if all.realm[name] {
			continue
		}
		all.realm[name] = true
		all.grant(defined, composites(defined.Realm, name))
	}
	for id, names := range more.Client {
		for _, name := range names {
			if all.client[id][name] {
				continue
			}
			if all.client[id] == nil {
				all.client[id] = make(map[string]bool)
			}
			all.client[id][name] = true
			all.grant(defined, composites(defined.Client[id], name))
		}
	}
}

func composites(defined []realm.Role, name string) realm.Roles {
	if i := slices.IndexFunc(defined, func(r realm.Role) bool { return r.Name == name }); i >= 0 {
		return defined[i].Composites
	}
	return realm.Roles{}
}

// sorted are names in an order that does not change from token to token.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
