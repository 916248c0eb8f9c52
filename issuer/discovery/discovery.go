// Package discovery is what a realm says about itself: OpenID Connect
// Discovery, RFC 8414, its public keys and Keycloak's realm info. It must not
// know how anything of it works; it announces only what is there.
package discovery

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/keys"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// Keys is what discovery needs of keys.Keys.
type Keys interface {
	Public(ctx context.Context, r realm.Realm) (*jose.KeySet, error)
	JWKS(ctx context.Context, r realm.Realm) (document []byte, etag string, err error)
}

var _ Keys = (*keys.Keys)(nil)

// Sessions says when everything older of a realm was last killed, zero for
// never; session.Sessions does.
type Sessions interface {
	NotBefore(ctx context.Context, r realm.Realm) (time.Time, error)
}

// Config configures a Handler.
type Config struct {
	Keys          Keys
	Sessions      Sessions
	GrantTypes    []string // those of the token endpoint
	ResponseModes []string // those of the authorization endpoint
	AuthMethods   []string // how clients authenticate, "none" included
	ProofAlgs     []string // algorithms of DPoP proofs
	MutualTLS     bool     // TLS asks clients for certificates
}

// Handler answers for every realm.
type Handler struct{ c Config }

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Keys == nil || c.Sessions == nil || len(c.GrantTypes) == 0 || len(c.ResponseModes) == 0 || len(c.AuthMethods) == 0 || len(c.ProofAlgs) == 0 {
		return nil, errors.New("discovery: every field of Config is required")
	}
	return &Handler{c}, nil
}

// metadata is the provider's metadata (OpenID Connect Discovery §3, RFC 8414
// §2), in Keycloak's order.
type metadata struct {
	Issuer                 string   `json:"issuer"`
	AuthorizationEndpoint  string   `json:"authorization_endpoint"`
	TokenEndpoint          string   `json:"token_endpoint"`
	IntrospectionEndpoint  string   `json:"introspection_endpoint"`
	UserinfoEndpoint       string   `json:"userinfo_endpoint"`
	EndSessionEndpoint     string   `json:"end_session_endpoint"`
	JWKSURI                string   `json:"jwks_uri"`
	GrantTypes             []string `json:"grant_types_supported"`
	ACRValues              []string `json:"acr_values_supported"`
	ResponseTypes          []string `json:"response_types_supported"`
	SubjectTypes           []string `json:"subject_types_supported"`
	PromptValues           []string `json:"prompt_values_supported"`
	IDTokenAlgorithms      []string `json:"id_token_signing_alg_values_supported"`
	ResponseModes          []string `json:"response_modes_supported"`
	TokenAuthMethods       []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgorithms    []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	IntrospectAuthMethods  []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectAlgorithms   []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	IntrospectionSigning   []string `json:"introspection_signing_alg_values_supported"` // RFC 9701 §7
	Claims                 []string `json:"claims_supported"`
	ClaimTypes             []string `json:"claim_types_supported"`
	ClaimsParameter        bool     `json:"claims_parameter_supported"`
	Scopes                 []string `json:"scopes_supported"`
	RequestParameter       bool     `json:"request_parameter_supported"`
	RequestURIParameter    bool     `json:"request_uri_parameter_supported"`
	RequestURIRegistered   bool     `json:"require_request_uri_registration"`
	ObjectAlgorithms       []string `json:"request_object_signing_alg_values_supported"`
	CodeChallengeMethods   []string `json:"code_challenge_methods_supported"`
	UILocales              []string `json:"ui_locales_supported"`
	CertificateBound       bool     `json:"tls_client_certificate_bound_access_tokens"`
	Aliases                *aliases `json:"mtls_endpoint_aliases,omitempty"`
	ProofAlgorithms        []string `json:"dpop_signing_alg_values_supported"`
	BackLogout             bool     `json:"backchannel_logout_supported"`
	BackLogoutSession      bool     `json:"backchannel_logout_session_supported"`
	FrontLogout            bool     `json:"frontchannel_logout_supported"`
	FrontLogoutSession     bool     `json:"frontchannel_logout_session_supported"`
	RevocationEndpoint     string   `json:"revocation_endpoint"`
	RevocationAuthMethods  []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAlgorithms   []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	DeviceEndpoint         string   `json:"device_authorization_endpoint"`
	PushedEndpoint         string   `json:"pushed_authorization_request_endpoint"`
	PushedOnly             bool     `json:"require_pushed_authorization_requests"`
	ResponseAlgorithms     []string `json:"authorization_signing_alg_values_supported"`
	IssInAuthorizationResp bool     `json:"authorization_response_iss_parameter_supported"`
}

// aliases are the endpoints where TLS asks clients for certificates, if that is
// at another place (RFC 8705 §5).
type aliases struct {
	TokenEndpoint         string `json:"token_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
	DeviceEndpoint        string `json:"device_authorization_endpoint"`
	UserinfoEndpoint      string `json:"userinfo_endpoint"`
	PushedEndpoint        string `json:"pushed_authorization_request_endpoint"`
}

func aliasesOf(r realm.Realm) *aliases {
	if r.Alias == "" {
		return nil
	}
	protocol := r.Alias + "/protocol/openid-connect"
	return &aliases{
		TokenEndpoint: protocol + "/token", RevocationEndpoint: protocol + "/revoke", IntrospectionEndpoint: protocol + "/token/introspect",
		DeviceEndpoint: protocol + "/auth/device", UserinfoEndpoint: protocol + "/userinfo", PushedEndpoint: protocol + "/ext/par/request",
	}
}

// Metadata answers both well-known documents: each allows the members of the
// other.
func (h *Handler) Metadata(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	protocol := r.Issuer + "/protocol/openid-connect"
	confidential := slices.DeleteFunc(slices.Clone(h.c.AuthMethods), func(m string) bool { return m == "none" })
	algorithms := []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
	clients := append(slices.Clone(algorithms), "HS256", "HS384", "HS512") // client_secret_jwt
	signing, err := h.algorithms(req.Context(), r)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	answer(w, metadata{
		Issuer:                r.Issuer,
		AuthorizationEndpoint: protocol + "/auth",
		TokenEndpoint:         protocol + "/token",
		IntrospectionEndpoint: protocol + "/token/introspect",
		UserinfoEndpoint:      protocol + "/userinfo",
		EndSessionEndpoint:    protocol + "/logout",
		JWKSURI:               protocol + "/certs",
		GrantTypes:            h.c.GrantTypes,
		ACRValues:             []string{"0", "1"},
		ResponseTypes:         []string{"code"},
		SubjectTypes:          []string{"public", "pairwise"},
		PromptValues:          []string{"none", "login", "consent"},
		IDTokenAlgorithms:     signing,
		ResponseModes:         h.c.ResponseModes,
		TokenAuthMethods:      h.c.AuthMethods,
		TokenAuthAlgorithms:   clients,
		IntrospectAuthMethods: confidential,
		IntrospectAlgorithms:  clients,
		IntrospectionSigning:  signing,
		Claims:                []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "name", "given_name", "family_name", "preferred_username", "email", "acr", "azp", "nonce"},
		ClaimTypes:            []string{"normal"},
		ClaimsParameter:       true,
		Scopes:                append([]string{"openid"}, r.Settings.ScopeNames()...),
		RequestParameter:      true,
		RequestURIParameter:   true,
		RequestURIRegistered:  true,
		ObjectAlgorithms:      algorithms,
		CodeChallengeMethods:  []string{"S256"},
		UILocales:             []string{"en", "ja"},
		CertificateBound:      h.c.MutualTLS,
		Aliases:               aliasesOf(r),
		ProofAlgorithms:       h.c.ProofAlgs,
		BackLogout:            true, BackLogoutSession: true, FrontLogout: true, FrontLogoutSession: true,
		RevocationEndpoint:     protocol + "/revoke",
		RevocationAuthMethods:  h.c.AuthMethods,
		RevocationAlgorithms:   clients,
		DeviceEndpoint:         protocol + "/auth/device",
		PushedEndpoint:         protocol + "/ext/par/request",
		ResponseAlgorithms:     signing,
		IssInAuthorizationResp: true,
	}, "no-cache, must-revalidate, no-transform, no-store")
}

// algorithms are those that ID tokens are signed with: the realm's, those of
// its other keys, and RS256, which a client can have in every realm and which
// has to be there (OpenID Connect Discovery §3).
func (h *Handler) algorithms(ctx context.Context, r realm.Realm) ([]string, error) {
	set, err := h.c.Keys.Public(ctx, r)
	if err != nil {
		return nil, err
	}
	algorithms := []string{string(r.Settings.SigningAlgorithm)}
	for _, k := range set.Keys() {
		if alg := string(k.Algorithm); alg != "" && !slices.Contains(algorithms, alg) {
			algorithms = append(algorithms, alg)
		}
	}
	if rs256 := string(jose.RS256); !slices.Contains(algorithms, rs256) {
		algorithms = append(algorithms, rs256)
	}
	return algorithms, nil
}

// Certs answers the realm's public keys (RFC 7517 §5). Unlike Keycloak's, the
// answer may be kept for a while: for no longer than a key is published before
// it signs.
func (h *Handler) Certs(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	document, etag, err := h.c.Keys.JWKS(req.Context(), r)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cache-Control", cacheKeys)
	header.Set("ETag", etag)
	if matches(req.Header.Values("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", "application/json")
	_, _ = w.Write(document) // a client that is gone is nobody's concern
}

// cacheKeys lets key sets be kept for as long as keys.PublishAhead allows for.
var cacheKeys = fmt.Sprintf("public, max-age=%d", keys.CacheFor/time.Second)

// matches is If-None-Match (RFC 9110 §13.1.2), weakly compared.
func matches(fields []string, etag string) bool {
	for _, tag := range strings.Split(strings.Join(fields, ","), ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// info is Keycloak's realm info, which old adapters read.
type info struct {
	Realm           string `json:"realm"`
	PublicKey       string `json:"public_key"`
	TokenService    string `json:"token-service"`
	AccountService  string `json:"account-service"`
	TokensNotBefore int64  `json:"tokens-not-before"`
}

// Realm answers the realm info. public_key is a key of the realm's algorithm
// as base64 of its PKIX form.
func (h *Handler) Realm(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	set, err := h.c.Keys.Public(req.Context(), r)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	key, err := publicKey(set, r.Settings.SigningAlgorithm)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	notBefore, err := h.c.Sessions.NotBefore(req.Context(), r)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	about := info{
		Realm: r.Name, PublicKey: key,
		TokenService:   r.Issuer + "/protocol/openid-connect",
		AccountService: r.Issuer + "/account",
	}
	if !notBefore.IsZero() {
		about.TokensNotBefore = notBefore.Unix()
	}
	answer(w, about, "no-cache")
}

func publicKey(set *jose.KeySet, alg jose.Algorithm) (string, error) {
	for _, k := range set.Keys() {
		if k.Algorithm != alg {
			continue
		}
		der, err := x509.MarshalPKIXPublicKey(k.Key)
		if err != nil {
			return "", err
		}
		return base64.StdEncoding.EncodeToString(der), nil
	}
	return "", nil
}

// answer writes public JSON: readable from every origin, cached as said.
func answer(w http.ResponseWriter, v any, cache string) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	oauth.WriteJSON(cached{w, cache}, http.StatusOK, v)
}

// cached replaces the no-store of oauth.WriteJSON, which is for secrets.
type cached struct {
	http.ResponseWriter
	control string
}

func (c cached) WriteHeader(status int) {
	c.Header().Set("Cache-Control", c.control)
	c.Header().Del("Pragma")
	c.ResponseWriter.WriteHeader(status)
}
