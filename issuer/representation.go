package issuer

// The structs below are a realm file: Keycloak 26's realm representation, as
// far as this issuer uses it, under Keycloak's names. Lifetimes are whole
// seconds. cmd/tegata decodes files strictly into them, so that a name that is
// not here is an error with a line number and never silently ignored.

// Realm is one realm of a realm file.
type Realm struct {
	Realm   string `json:"realm" yaml:"realm"`                         // name, as in /realms/{realm}
	Enabled *bool  `json:"enabled,omitempty" yaml:"enabled,omitempty"` // default true

	DefaultSignatureAlgorithm string `json:"defaultSignatureAlgorithm,omitempty" yaml:"defaultSignatureAlgorithm,omitempty"` // ES256 (default), RS256, EdDSA, …
	AccessTokenType           string `json:"accessTokenType,omitempty" yaml:"accessTokenType,omitempty"`                     // header typ: "at+jwt" (default) or "JWT"

	AccessTokenLifespan       int `json:"accessTokenLifespan,omitempty" yaml:"accessTokenLifespan,omitempty"`             // s, default 300
	SSOSessionIdleTimeout     int `json:"ssoSessionIdleTimeout,omitempty" yaml:"ssoSessionIdleTimeout,omitempty"`         // s, default 1800
	SSOSessionMaxLifespan     int `json:"ssoSessionMaxLifespan,omitempty" yaml:"ssoSessionMaxLifespan,omitempty"`         // s, default 36000
	AccessCodeLifespan        int `json:"accessCodeLifespan,omitempty" yaml:"accessCodeLifespan,omitempty"`               // s, default 60
	AccessCodeLifespanLogin   int `json:"accessCodeLifespanLogin,omitempty" yaml:"accessCodeLifespanLogin,omitempty"`     // s, default 1800
	OfflineSessionIdleTimeout int `json:"offlineSessionIdleTimeout,omitempty" yaml:"offlineSessionIdleTimeout,omitempty"` // s, default 2592000
	OfflineSessionMaxLifespan int `json:"offlineSessionMaxLifespan,omitempty" yaml:"offlineSessionMaxLifespan,omitempty"` // s, default 5184000, if it is enabled

	// RememberMe lets people ask to stay logged in; their sessions last as below.
	RememberMe                      bool `json:"rememberMe,omitempty" yaml:"rememberMe,omitempty"`
	ClientSessionIdleTimeout        int  `json:"clientSessionIdleTimeout,omitempty" yaml:"clientSessionIdleTimeout,omitempty"`               // s, default: as the user session
	ClientSessionMaxLifespan        int  `json:"clientSessionMaxLifespan,omitempty" yaml:"clientSessionMaxLifespan,omitempty"`               // s, default: as the user session
	ClientOfflineSessionIdleTimeout int  `json:"clientOfflineSessionIdleTimeout,omitempty" yaml:"clientOfflineSessionIdleTimeout,omitempty"` // s, default: as the offline session
	ClientOfflineSessionMaxLifespan int  `json:"clientOfflineSessionMaxLifespan,omitempty" yaml:"clientOfflineSessionMaxLifespan,omitempty"` // s, default: as the offline session
	SSOSessionIdleTimeoutRememberMe int  `json:"ssoSessionIdleTimeoutRememberMe,omitempty" yaml:"ssoSessionIdleTimeoutRememberMe,omitempty"` // s, default: as without
	SSOSessionMaxLifespanRememberMe int  `json:"ssoSessionMaxLifespanRememberMe,omitempty" yaml:"ssoSessionMaxLifespanRememberMe,omitempty"` // s, default: as without

	OfflineSessionMaxLifespanEnabled bool `json:"offlineSessionMaxLifespanEnabled,omitempty" yaml:"offlineSessionMaxLifespanEnabled,omitempty"`

	// Of pushed requests and of devices. Keycloak's exports have them among the
	// attributes.
	PARRequestURILifespan int               `json:"parRequestUriLifespan,omitempty" yaml:"parRequestUriLifespan,omitempty"`             // s, default 60
	DeviceCodeLifespan    int               `json:"oauth2DeviceCodeLifespan,omitempty" yaml:"oauth2DeviceCodeLifespan,omitempty"`       // s, default 600
	DevicePollingInterval int               `json:"oauth2DevicePollingInterval,omitempty" yaml:"oauth2DevicePollingInterval,omitempty"` // s, default 5
	Attributes            map[string]string `json:"attributes,omitempty" yaml:"attributes,omitempty"`                                   // those three, and none else

	RefreshGrace         int `json:"refreshGrace,omitempty" yaml:"refreshGrace,omitempty"`                 // s, default 10 (not Keycloak's)
	RefreshTokenMaxReuse int `json:"refreshTokenMaxReuse,omitempty" yaml:"refreshTokenMaxReuse,omitempty"` // within refreshGrace, default 3

	KeyRotation int `json:"keyRotation,omitempty" yaml:"keyRotation,omitempty"` // s that a signing key signs; default: until somebody rotates (not Keycloak's)

	ClientScopes []ClientScope `json:"clientScopes,omitempty" yaml:"clientScopes,omitempty"`
	Roles        Roles         `json:"roles,omitzero" yaml:"roles,omitempty"`
	Groups       []Group       `json:"groups,omitempty" yaml:"groups,omitempty"`
	Clients      []Client      `json:"clients,omitempty" yaml:"clients,omitempty"`
	Users        []User        `json:"users,omitempty" yaml:"users,omitempty"`

	// Of clients with fullScopeAllowed false: the roles, of the realm and by
	// client id of clients, that tokens of a client or with a scope may name.
	ScopeMappings       []ScopeMapping            `json:"scopeMappings,omitempty" yaml:"scopeMappings,omitempty"`
	ClientScopeMappings map[string][]ScopeMapping `json:"clientScopeMappings,omitempty" yaml:"clientScopeMappings,omitempty"`

	// DefaultRole names the role that has in it what everybody has: of a person
	// of the file it is one of realmRoles, or not. Default: Keycloak's name, and
	// what is in Keycloak's unless roles says otherwise.
	DefaultRole  *Role    `json:"defaultRole,omitempty" yaml:"defaultRole,omitempty"`
	DefaultRoles []string `json:"defaultRoles,omitempty" yaml:"defaultRoles,omitempty"` // more that are in it, as in Keycloak's older files

	// The client scopes of clients that name none; default: Keycloak's.
	DefaultDefaultClientScopes  []string `json:"defaultDefaultClientScopes,omitempty" yaml:"defaultDefaultClientScopes,omitempty"`
	DefaultOptionalClientScopes []string `json:"defaultOptionalClientScopes,omitempty" yaml:"defaultOptionalClientScopes,omitempty"`
}

// ClientScope is a scope that clients of the realm may be given, besides the
// built-in ones or instead of one.
type ClientScope struct {
	ID              string            `json:"id,omitempty" yaml:"id,omitempty"` // for readers of the file
	Name            string            `json:"name" yaml:"name"`
	Description     string            `json:"description,omitempty" yaml:"description,omitempty"` // for readers of the file
	Protocol        string            `json:"protocol,omitempty" yaml:"protocol,omitempty"`       // "openid-connect" (default); with "saml" it is left out
	Attributes      map[string]string `json:"attributes,omitempty" yaml:"attributes,omitempty"`   // include.in.token.scope
	ProtocolMappers []ProtocolMapper  `json:"protocolMappers,omitempty" yaml:"protocolMappers,omitempty"`
}

// ProtocolMapper releases one claim, audience or role; see package claims for
// the types.
type ProtocolMapper struct {
	ID              string            `json:"id,omitempty" yaml:"id,omitempty"` // for readers of the file
	Name            string            `json:"name" yaml:"name"`
	Protocol        string            `json:"protocol,omitempty" yaml:"protocol,omitempty"` // "openid-connect" (default)
	ProtocolMapper  string            `json:"protocolMapper" yaml:"protocolMapper"`
	ConsentRequired bool              `json:"consentRequired,omitempty" yaml:"consentRequired,omitempty"` // nothing reads it, here or in Keycloak
	Config          map[string]string `json:"config,omitempty" yaml:"config,omitempty"`
}

// ScopeMapping are roles that tokens of a client or with a client scope may
// name.
type ScopeMapping struct {
	Client      string   `json:"client,omitempty" yaml:"client,omitempty"`           // either this
	ClientScope string   `json:"clientScope,omitempty" yaml:"clientScope,omitempty"` // or this
	Roles       []string `json:"roles" yaml:"roles"`
}

// Roles are the roles of a realm and, by client id, of its clients.
type Roles struct {
	Realm  []Role            `json:"realm,omitempty" yaml:"realm,omitempty"`
	Client map[string][]Role `json:"client,omitempty" yaml:"client,omitempty"`
}

// Role is one role.
type Role struct {
	ID          string     `json:"id,omitempty" yaml:"id,omitempty"`                   // for readers of the file
	ContainerID string     `json:"containerId,omitempty" yaml:"containerId,omitempty"` // for readers of the file
	Name        string     `json:"name" yaml:"name"`
	Description string     `json:"description,omitempty" yaml:"description,omitempty"` // for readers of the file
	Composite   bool       `json:"composite,omitempty" yaml:"composite,omitempty"`     // as Composites say
	ClientRole  bool       `json:"clientRole,omitempty" yaml:"clientRole,omitempty"`   // as its place says
	Composites  Composites `json:"composites,omitzero" yaml:"composites,omitempty"`

	Attributes map[string][]string `json:"attributes,omitempty" yaml:"attributes,omitempty"` // for readers of the file
}

// Composites are the roles that are in a role.
type Composites struct {
	Realm  []string            `json:"realm,omitempty" yaml:"realm,omitempty"`
	Client map[string][]string `json:"client,omitempty" yaml:"client,omitempty"`
}

// Group is one group of people.
type Group struct {
	ID          string              `json:"id,omitempty" yaml:"id,omitempty"` // for readers of the file
	Name        string              `json:"name" yaml:"name"`
	Path        string              `json:"path,omitempty" yaml:"path,omitempty"` // as its place says
	Attributes  map[string][]string `json:"attributes,omitempty" yaml:"attributes,omitempty"`
	RealmRoles  []string            `json:"realmRoles,omitempty" yaml:"realmRoles,omitempty"`
	ClientRoles map[string][]string `json:"clientRoles,omitempty" yaml:"clientRoles,omitempty"`
	SubGroups   []Group             `json:"subGroups,omitempty" yaml:"subGroups,omitempty"`
}

// Client is one client of a realm file.
type Client struct {
	ClientID string `json:"clientId" yaml:"clientId"`
	Name     string `json:"name,omitempty" yaml:"name,omitempty"`
	Enabled  *bool  `json:"enabled,omitempty" yaml:"enabled,omitempty"` // default true

	// Secret is the client secret in clear; at rest only its hash is kept, or with
	// client-secret-jwt, which signs with it, the secret itself, sealed.
	Secret                  string `json:"secret,omitempty" yaml:"secret,omitempty"`
	PublicClient            bool   `json:"publicClient,omitempty" yaml:"publicClient,omitempty"`
	ClientAuthenticatorType string `json:"clientAuthenticatorType,omitempty" yaml:"clientAuthenticatorType,omitempty"` // client-secret (default), client-jwt, client-secret-jwt
	StandardFlowEnabled     *bool  `json:"standardFlowEnabled,omitempty" yaml:"standardFlowEnabled,omitempty"`         // default true
	ServiceAccountsEnabled  bool   `json:"serviceAccountsEnabled,omitempty" yaml:"serviceAccountsEnabled,omitempty"`

	DirectAccessGrantsEnabled bool `json:"directAccessGrantsEnabled,omitempty" yaml:"directAccessGrantsEnabled,omitempty"` // the password grant
	ConsentRequired           bool `json:"consentRequired,omitempty" yaml:"consentRequired,omitempty"`                     // people are asked before it gets anything of theirs

	RedirectURIs           []string `json:"redirectUris,omitempty" yaml:"redirectUris,omitempty"`
	PostLogoutRedirectURIs []string `json:"postLogoutRedirectUris,omitempty" yaml:"postLogoutRedirectUris,omitempty"` // unset or "+": the redirect URIs
	WebOrigins             []string `json:"webOrigins,omitempty" yaml:"webOrigins,omitempty"`                         // for CORS; "+": the origins of the redirect URIs
	DefaultClientScopes    []string `json:"defaultClientScopes,omitempty" yaml:"defaultClientScopes,omitempty"`
	OptionalClientScopes   []string `json:"optionalClientScopes,omitempty" yaml:"optionalClientScopes,omitempty"`
	Audience               []string `json:"audience,omitempty" yaml:"audience,omitempty"` // aud of its access tokens

	ProtocolMappers  []ProtocolMapper `json:"protocolMappers,omitempty" yaml:"protocolMappers,omitempty"`
	FullScopeAllowed *bool            `json:"fullScopeAllowed,omitempty" yaml:"fullScopeAllowed,omitempty"` // default true

	FrontchannelLogout bool `json:"frontchannelLogout,omitempty" yaml:"frontchannelLogout,omitempty"` // with attribute frontchannel.logout.url

	JWKS                map[string]any    `json:"jwks,omitempty" yaml:"jwks,omitempty"`       // public keys for private_key_jwt
	JWKSURI             string            `json:"jwksUri,omitempty" yaml:"jwksUri,omitempty"` // or where they are
	AccessTokenLifespan int               `json:"accessTokenLifespan,omitempty" yaml:"accessTokenLifespan,omitempty"`
	Attributes          map[string]string `json:"attributes,omitempty" yaml:"attributes,omitempty"`

	Protocol   string `json:"protocol,omitempty" yaml:"protocol,omitempty"`     // "openid-connect" (default)
	RootURL    string `json:"rootUrl,omitempty" yaml:"rootUrl,omitempty"`       // stands before redirect URIs that begin with a slash
	BearerOnly bool   `json:"bearerOnly,omitempty" yaml:"bearerOnly,omitempty"` // nobody logs in at it: standardFlowEnabled false

	// What is not there, and has to be as in a new client of Keycloak's.
	ImplicitFlowEnabled               bool              `json:"implicitFlowEnabled,omitempty" yaml:"implicitFlowEnabled,omitempty"`
	SurrogateAuthRequired             bool              `json:"surrogateAuthRequired,omitempty" yaml:"surrogateAuthRequired,omitempty"`
	AuthenticationFlowBindingOverride map[string]string `json:"authenticationFlowBindingOverrides,omitempty" yaml:"authenticationFlowBindingOverrides,omitempty"`

	// For readers of the file.
	ID                        string `json:"id,omitempty" yaml:"id,omitempty"`
	Description               string `json:"description,omitempty" yaml:"description,omitempty"`
	BaseURL                   string `json:"baseUrl,omitempty" yaml:"baseUrl,omitempty"`
	AdminURL                  string `json:"adminUrl,omitempty" yaml:"adminUrl,omitempty"`
	AlwaysDisplayInConsole    bool   `json:"alwaysDisplayInConsole,omitempty" yaml:"alwaysDisplayInConsole,omitempty"`
	NotBefore                 int64  `json:"notBefore,omitempty" yaml:"notBefore,omitempty"` // of tokens that Keycloak has issued
	NodeReRegistrationTimeout int    `json:"nodeReRegistrationTimeout,omitempty" yaml:"nodeReRegistrationTimeout,omitempty"`
}

// User is one person of a realm file.
type User struct {
	ID            string       `json:"id,omitempty" yaml:"id,omitempty"` // sub of their tokens; default: a new one
	Username      string       `json:"username" yaml:"username"`
	Enabled       *bool        `json:"enabled,omitempty" yaml:"enabled,omitempty"` // default true
	Email         string       `json:"email,omitempty" yaml:"email,omitempty"`
	EmailVerified bool         `json:"emailVerified,omitempty" yaml:"emailVerified,omitempty"`
	FirstName     string       `json:"firstName,omitempty" yaml:"firstName,omitempty"`
	LastName      string       `json:"lastName,omitempty" yaml:"lastName,omitempty"`
	Credentials   []Credential `json:"credentials,omitempty" yaml:"credentials,omitempty"`

	Attributes  map[string][]string `json:"attributes,omitempty" yaml:"attributes,omitempty"`
	RealmRoles  []string            `json:"realmRoles,omitempty" yaml:"realmRoles,omitempty"`
	ClientRoles map[string][]string `json:"clientRoles,omitempty" yaml:"clientRoles,omitempty"`
	Groups      []string            `json:"groups,omitempty" yaml:"groups,omitempty"` // paths: "/staff/cooks"

	// ServiceAccountClientID makes this no person but the roles of a client
	// that acts for itself.
	ServiceAccountClientID string `json:"serviceAccountClientId,omitempty" yaml:"serviceAccountClientId,omitempty"`

	// What is not there, and has to be as with a new person of Keycloak's.
	TOTP            bool     `json:"totp,omitempty" yaml:"totp,omitempty"`
	RequiredActions []string `json:"requiredActions,omitempty" yaml:"requiredActions,omitempty"`

	// For readers of the file.
	CreatedTimestamp int64    `json:"createdTimestamp,omitempty" yaml:"createdTimestamp,omitempty"`
	NotBefore        int64    `json:"notBefore,omitempty" yaml:"notBefore,omitempty"` // of tokens that Keycloak has issued
	Disableable      []string `json:"disableableCredentialTypes,omitempty" yaml:"disableableCredentialTypes,omitempty"`
}

// Credential is one credential of a User.
type Credential struct {
	Type  string `json:"type" yaml:"type"`                       // "password"
	Value string `json:"value,omitempty" yaml:"value,omitempty"` // in clear; at rest only its argon2id hash is kept

	// Instead of Value: the hash, as Keycloak exports it.
	CredentialData string `json:"credentialData,omitempty" yaml:"credentialData,omitempty"`
	SecretData     string `json:"secretData,omitempty" yaml:"secretData,omitempty"`

	// For readers of the file.
	ID          string `json:"id,omitempty" yaml:"id,omitempty"`
	UserLabel   string `json:"userLabel,omitempty" yaml:"userLabel,omitempty"`
	CreatedDate int64  `json:"createdDate,omitempty" yaml:"createdDate,omitempty"`
}
