package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tegata/tegata/issuer/claims"
)

// This file is about what an export of Keycloak's has and an import leaves out.

// without is the file without what is Keycloak's own and what is for SAML, and
// the names of what was left out.
func (file Realm) without() (Realm, omitted) {
	var out omitted
	clients := file.Clients
	file.Clients = nil
	for _, c := range clients {
		if c.keycloaks() {
			out.clients = append(out.clients, c.ClientID)
		} else {
			file.Clients = append(file.Clients, c)
		}
	}
	scopes := file.ClientScopes
	file.ClientScopes = nil
	for _, s := range scopes {
		if s.Protocol == "saml" {
			out.scopes = append(out.scopes, s.Name)
			continue
		}
		file.ClientScopes = append(file.ClientScopes, s)
		out.silent(s.ProtocolMappers)
	}
	for _, c := range file.Clients {
		out.silent(c.ProtocolMappers)
	}
	there := func(names []string) []string {
		if names == nil {
			return nil // not the same as none
		}
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(out.scopes, name) })
	}
	file.DefaultDefaultClientScopes = there(file.DefaultDefaultClientScopes)
	file.DefaultOptionalClientScopes = there(file.DefaultOptionalClientScopes)
	file.Clients = slices.Clone(file.Clients)
	for i := range file.Clients {
		c := &file.Clients[i]
		c.DefaultClientScopes, c.OptionalClientScopes = there(c.DefaultClientScopes), there(c.OptionalClientScopes)
	}
	gone := func(m ScopeMapping) bool {
		return slices.Contains(out.clients, m.Client) || slices.Contains(out.scopes, m.ClientScope)
	}
	file.ScopeMappings = slices.DeleteFunc(slices.Clone(file.ScopeMappings), gone)
	mappings := make(map[string][]ScopeMapping, len(file.ClientScopeMappings))
	for id, all := range file.ClientScopeMappings {
		mappings[id] = slices.DeleteFunc(slices.Clone(all), gone)
	}
	file.ClientScopeMappings = mappings
	return file, out
}

// keycloaks reports whether the client is one of those that Keycloak makes in
// every realm, for pages and an API of its own; it calls them after a text of
// its pages.
func (file Client) keycloaks() bool { return file.Name == "${client_"+file.ClientID+"}" }

// omitted is what an import leaves out.
type omitted struct{ clients, scopes, mappers []string }

// silent notes which mappers release nothing, because what they would release
// is not here.
func (o *omitted) silent(mappers []ProtocolMapper) {
	for _, m := range mappers {
		if claims.ReleasesNothing(m.mapper()) {
			o.mappers = append(o.mappers, m.Name)
		}
	}
}

// log says what was left out, once for each file.
func (i *Issuer) logOmitted(ctx context.Context, realm string, o omitted) {
	if len(o.clients)+len(o.scopes)+len(o.mappers) > 0 {
		i.c.Logger.InfoContext(ctx, "not imported", "realm", realm, "clients", o.clients, "client_scopes", o.scopes, "mappers_without_effect", o.mappers)
	}
}

// masked is what Keycloak writes for a secret that it does not tell.
const masked = "**********"

// checkExported finds what a client of Keycloak's export may be and none here.
func (file Client) checkExported() error {
	switch {
	case file.Protocol != "" && file.Protocol != "openid-connect":
		return fmt.Errorf("protocol %q: want openid-connect", file.Protocol)
	case file.ImplicitFlowEnabled:
		return errors.New("implicitFlowEnabled: there is no implicit flow")
	case file.SurrogateAuthRequired:
		return errors.New("surrogateAuthRequired is not there")
	case len(file.AuthenticationFlowBindingOverride) > 0:
		return errors.New("authenticationFlowBindingOverrides are not there yet")
	case file.Secret == masked:
		return errors.New("its secret is masked in the export: write the secret, or export with it")
	}
	return nil
}

// redirects are the redirect URIs, those that begin with a slash behind the
// root URL (Keycloak).
func (file Client) redirects() []string {
	uris := slices.Clone(file.RedirectURIs)
	for i, uri := range uris {
		if strings.HasPrefix(uri, "/") && file.RootURL != "" {
			uris[i] = strings.TrimSuffix(file.RootURL, "/") + uri
		}
	}
	return uris
}

// postLogout are the post-logout redirect URIs: Keycloak keeps them in an
// attribute, "##" between them, "-" for none.
func (file Client) postLogout() []string {
	const attr = "post.logout.redirect.uris"
	text := file.Attributes[attr]
	if file.PostLogoutRedirectURIs != nil || text == "" {
		return file.PostLogoutRedirectURIs
	}
	return strings.Split(text, "##")
}
