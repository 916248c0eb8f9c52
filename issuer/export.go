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
	file.Clients = slices.DeleteFunc(slices.Clone(file.Clients), func(c Client) bool {
		if c.keycloaks() {
			out.clients = append(out.clients, c.ClientID)
		}
		return c.keycloaks()
	})
	file.ClientScopes = slices.DeleteFunc(slices.Clone(file.ClientScopes), func(s ClientScope) bool {
		if s.Protocol == "saml" {
			out.scopes = append(out.scopes, s.Name)
		}
		return s.Protocol == "saml"
	})
	for _, s := range file.ClientScopes {
		out.silent(s.ProtocolMappers)
	}
	for i := range file.Clients {
		c := &file.Clients[i]
		out.silent(c.ProtocolMappers)
		c.DefaultClientScopes, c.OptionalClientScopes = out.rest(c.DefaultClientScopes), out.rest(c.OptionalClientScopes)
	}
	file.DefaultDefaultClientScopes = out.rest(file.DefaultDefaultClientScopes)
	file.DefaultOptionalClientScopes = out.rest(file.DefaultOptionalClientScopes)
	file.ScopeMappings = slices.DeleteFunc(slices.Clone(file.ScopeMappings), out.hasMapping)
	mappings := make(map[string][]ScopeMapping, len(file.ClientScopeMappings))
	for id, all := range file.ClientScopeMappings {
		mappings[id] = slices.DeleteFunc(slices.Clone(all), out.hasMapping)
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

// rest are the client scopes that were not left out; nil stays nil, which is
// not the same as none.
func (o omitted) rest(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(name string) bool { return slices.Contains(o.scopes, name) })
}

// hasMapping reports whether a scope mapping is of something left out.
func (o omitted) hasMapping(m ScopeMapping) bool {
	return slices.Contains(o.clients, m.Client) || slices.Contains(o.scopes, m.ClientScope)
}

// logOmitted says what was left out, once for each file.
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
