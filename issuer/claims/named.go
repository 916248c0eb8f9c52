package claims

import (
	"slices"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// Named are the claims that an authorization request names one by one (OpenID
// Connect Core §5.5), for each of the places where the client is told.
type Named struct {
	UserInfo []string `json:"userinfo,omitempty"`
	ID       []string `json:"id_token,omitempty"`
}

// IsZero reports whether nothing was named.
func (n Named) IsZero() bool { return len(n.UserInfo)+len(n.ID) == 0 }

// named is one mapper whose claim a request may name.
type named struct {
	scope string // that it is of; empty: the client's own
	claim string // the outermost name
	rule  rule
}

// claimsParameter is Keycloak's mapper that lets a client name a few claims of
// everybody, whatever its scopes; others may name what their scopes have.
const claimsParameter = "oidc-claims-param-token-mapper"

// parameterClaims are those few, by the scope that has them otherwise.
var parameterClaims = map[string][]string{
	"profile": {"name", "given_name", "family_name", "preferred_username"},
	"email":   {"email"},
}

// namedOf are the mappers whose claims a client may name: its own and those of
// every scope that it may ask for, as far as they tell it anything.
func namedOf(r realm.Realm, c client.Client) []named {
	var all []named
	add := func(scope string, mappers []realm.Mapper, only ...string) {
		for _, m := range mappers {
			claim := claimOf(m)
			if claim == "" || !config(m.Config).destinations().client() || len(only) > 0 && !slices.Contains(only, claim) {
				continue
			}
			if compiled, err := compile(m); err == nil {
				all = append(all, named{scope, claim, compiled})
			}
		}
	}
	mappers := slices.Clone(c.Mappers)
	for _, name := range slices.Concat(c.DefaultClientScopes, c.OptionalClientScopes) {
		s, _ := r.Settings.ClientScope(name)
		add(name, s.Mappers)
		mappers = append(mappers, s.Mappers...)
	}
	add("", c.Mappers)
	if slices.ContainsFunc(mappers, func(m realm.Mapper) bool { return m.Type == claimsParameter }) {
		for _, name := range []string{"profile", "email"} {
			s, _ := r.Settings.ClientScope(name)
			add(name, s.Mappers, parameterClaims[name]...)
		}
	}
	return all
}

// claimOf is the outermost name of the claim that a mapper releases.
func claimOf(m realm.Mapper) string {
	switch m.Type {
	case "oidc-full-name-mapper":
		return "name"
	case "oidc-address-mapper":
		return "address"
	}
	path, err := splitPath(m.Config["claim.name"])
	if err != nil {
		return ""
	}
	return path[0]
}

// Ask is what a client may be told of the claims that it names, and the scopes
// beyond the granted one that a person lets it have by that.
func (m *Maker) Ask(r realm.Realm, c client.Client, scope string, asked Named) (may Named, more []string) {
	has := append(appliedScopes(r, c, scope), "")
	all := m.plan(r, c, scope).named
	allowed := func(names []string) (ok []string) {
		for _, name := range names {
			var scopes []string
			for _, n := range all {
				if n.claim == name {
					scopes = append(scopes, n.scope)
				}
			}
			if len(scopes) == 0 || slices.Contains(ok, name) {
				continue
			}
			ok = append(ok, name)
			if !slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(has, s) || slices.Contains(more, s) }) {
				more = append(more, scopes[0])
			}
		}
		return ok
	}
	return Named{UserInfo: allowed(asked.UserInfo), ID: allowed(asked.ID)}, more
}

// releaseNamed adds the named claims. Whatever a mapper says of ID token and
// UserInfo, the client is told where it wants to be: it is told in any case.
func (p *plan) releaseNamed(r Request, out *Claims) {
	if r.Named.IsZero() {
		return
	}
	said := newClaims()
	b := &bearer{r: r, roles: p.effective(r)}
	for _, n := range p.named {
		if slices.Contains(r.Named.UserInfo, n.claim) || slices.Contains(r.Named.ID, n.claim) {
			n.rule(b, &said)
		}
	}
	for _, to := range []struct {
		names []string
		m     map[string]any
	}{{r.Named.UserInfo, out.UserInfo}, {r.Named.ID, out.ID}} {
		for _, name := range to.names {
			value, ok := said.ID[name]
			if !ok {
				value, ok = said.UserInfo[name]
			}
			if _, there := to.m[name]; ok && !there && name != granted {
				to.m[name] = value
			}
		}
	}
}
