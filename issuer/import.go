package issuer

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/user"
	"github.com/tegata/tegata/issuer/userauth"
	"github.com/tegata/tegata/revocation"
)

// realmName is what a realm may be called: it stands in paths and cookies.
var realmName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// maxUserID bounds a person's id, in bytes; user.Users finds no longer one.
const maxUserID = 64

// Import creates or updates a realm, its keys, clients and users from a realm
// file. Importing the same file again changes nothing, hashes included; what
// is in the store but not in the file stays. What the file disables is revoked
// in the same commit. A crash half-way leaves a part of the file imported; the
// next import does the rest.
func (i *Issuer) Import(ctx context.Context, file Realm) error {
	ctx = revocation.By(ctx, revocation.ActorImport)
	file, omitted := file.without()
	if err := file.check(); err != nil {
		return err
	}
	i.logOmitted(ctx, file.Realm, omitted)
	r, err := i.importRealm(ctx, file)
	if err != nil {
		return fmt.Errorf("importing realm %s: %w", file.Realm, err)
	}
	for _, c := range file.Clients {
		if err := i.importClient(ctx, r, c, file.given(c.ClientID)); err != nil {
			return fmt.Errorf("importing client %s of realm %s: %w", c.ClientID, file.Realm, err)
		}
	}
	if err := i.ensureKeys(ctx, r); err != nil {
		return fmt.Errorf("making keys of realm %s: %w", file.Realm, err)
	}
	for _, u := range file.Users {
		if u.ServiceAccountClientID != "" {
			continue // a part of its client
		}
		if err := i.importUser(ctx, r, u); err != nil {
			return fmt.Errorf("importing user %s of realm %s: %w", u.Username, file.Realm, err)
		}
	}
	return nil
}

// check finds what is wrong with the file as such, before anything is written.
func (file Realm) check() error {
	if !realmName.MatchString(file.Realm) {
		return fmt.Errorf("realm %q: a name has 1 to 64 letters, digits, '.', '_' or '-'", file.Realm)
	}
	if alg := file.DefaultSignatureAlgorithm; alg != "" {
		if err := jose.CheckSigning(jose.Algorithm(alg)); err != nil {
			return fmt.Errorf("realm %s: defaultSignatureAlgorithm: %w", file.Realm, err)
		}
	}
	switch file.AccessTokenType {
	case "", "at+jwt", "JWT":
	default:
		return fmt.Errorf("realm %s: accessTokenType %q is neither at+jwt nor JWT", file.Realm, file.AccessTokenType)
	}
	for _, d := range []int{
		file.AccessTokenLifespan, file.SSOSessionIdleTimeout, file.SSOSessionMaxLifespan, file.AccessCodeLifespan,
		file.AccessCodeLifespanLogin, file.OfflineSessionIdleTimeout, file.RefreshGrace, file.RefreshTokenMaxReuse,
		file.ClientSessionIdleTimeout, file.ClientSessionMaxLifespan, file.ClientOfflineSessionIdleTimeout,
		file.ClientOfflineSessionMaxLifespan, file.SSOSessionIdleTimeoutRememberMe, file.SSOSessionMaxLifespanRememberMe,
		file.PARRequestURILifespan, file.DeviceCodeLifespan, file.DevicePollingInterval,
	} {
		if d < 0 {
			return fmt.Errorf("realm %s: a lifetime or count is negative", file.Realm)
		}
	}
	return errors.Join(file.checkAttributes(), file.checkClients(), file.checkUsers(), file.checkMappers(), file.checkScopeMappings(), file.checkMembers())
}

// Attributes of a realm that are settings, as in Keycloak.
const (
	attrPARLifespan    = "parRequestUriLifespan"
	attrDeviceLifespan = "oauth2DeviceCodeLifespan"
	attrDeviceInterval = "oauth2DevicePollingInterval"
)

// checkAttributes finds attributes that nothing reads, and what is no time.
func (file Realm) checkAttributes() error {
	for name, value := range file.Attributes {
		switch name {
		case attrPARLifespan, attrDeviceLifespan, attrDeviceInterval:
		default:
			if fresh, ok := freshAttributes[name]; ok && fresh == value {
				continue
			}
			return fmt.Errorf("realm %s: attribute %q is not known", file.Realm, name)
		}
		if n, err := strconv.Atoi(value); err != nil || n < 0 {
			return fmt.Errorf("realm %s: attribute %s: %q is no number of seconds", file.Realm, name, value)
		}
	}
	return nil
}

// lifespan is a setting, or else an attribute that checkAttributes let pass.
func (file Realm) lifespan(setting int, attribute string) time.Duration {
	n, _ := strconv.Atoi(file.Attributes[attribute])
	return seconds(cmp.Or(setting, n))
}

func (file Realm) checkClients() error {
	seen := make(map[string]bool)
	for _, c := range file.Clients {
		if c.ClientID == "" || len(c.ClientID) > 255 {
			return fmt.Errorf("realm %s: a clientId is empty or longer than 255 bytes", file.Realm)
		}
		if seen[c.ClientID] {
			return fmt.Errorf("realm %s: client %s is there twice", file.Realm, c.ClientID)
		}
		seen[c.ClientID] = true
		if c.PublicClient && (c.Secret != "" || c.ServiceAccountsEnabled) {
			return fmt.Errorf("realm %s: public client %s can have neither secret nor service account", file.Realm, c.ClientID)
		}
		if c.AccessTokenLifespan < 0 {
			return fmt.Errorf("realm %s: client %s: accessTokenLifespan is negative", file.Realm, c.ClientID)
		}
		if err := c.checkExported(); err != nil {
			return fmt.Errorf("realm %s: client %s: %w", file.Realm, c.ClientID, err)
		}
		for _, uri := range c.redirects() {
			if !oauth.SafeRedirect(uri) {
				return fmt.Errorf("realm %s: client %s: redirect URI %q is not absolute, has a fragment, or is not safe to redirect to", file.Realm, c.ClientID, uri)
			}
		}
	}
	return nil
}

func (file Realm) checkUsers() error {
	seen := make(map[string]bool)
	for _, u := range file.Users {
		if u.Username == "" || len(u.Username) > userauth.MaxUsername {
			return fmt.Errorf("realm %s: a username is empty or longer than %d bytes", file.Realm, userauth.MaxUsername)
		}
		if len(u.ID) > maxUserID || strings.ContainsFunc(u.ID, unicode.IsControl) {
			return fmt.Errorf("realm %s: user %s: an id has at most %d bytes and no control characters", file.Realm, u.Username, maxUserID)
		}
		if seen[u.Username] {
			return fmt.Errorf("realm %s: user %s is there twice", file.Realm, u.Username)
		}
		seen[u.Username] = true
		if u.TOTP || len(u.RequiredActions) > 0 {
			return fmt.Errorf("realm %s: user %s: totp and requiredActions are not there yet", file.Realm, u.Username)
		}
		if len(u.Credentials) > 1 {
			return fmt.Errorf("realm %s: user %s has more than one credential", file.Realm, u.Username)
		}
		for _, c := range u.Credentials {
			if c.hashed() {
				if _, err := userauth.FromKeycloak(c.CredentialData, c.SecretData); err != nil {
					return fmt.Errorf("realm %s: user %s: %w", file.Realm, u.Username, err)
				}
				continue
			}
			if c.Type != "password" || c.Value == "" || len(c.Value) > userauth.MaxPassword {
				return fmt.Errorf("realm %s: user %s: a credential is a password of at most %d bytes", file.Realm, u.Username, userauth.MaxPassword)
			}
		}
	}
	return nil
}

func (i *Issuer) importRealm(ctx context.Context, file Realm) (realm.Realm, error) {
	old, err := i.realms.ByName(ctx, file.Realm)
	known := err == nil
	if err != nil && !errors.Is(err, realm.ErrNotFound) {
		return realm.Realm{}, err
	}
	settings := file.settings()
	enabled := orTrue(file.Enabled)
	if known && old.Enabled == enabled && reflect.DeepEqual(old.Settings, settings.WithDefaults()) {
		return old, nil
	}
	if known && old.Enabled && !enabled {
		if _, err = i.sessions.EndRealm(ctx, old, revocation.ReasonDisabled); err != nil {
			return realm.Realm{}, err
		}
		i.metrics.revoke(revocation.ReasonDisabled)
	}
	if _, err := i.realms.Put(ctx, realm.Realm{Name: file.Realm, Enabled: enabled, Settings: settings}); err != nil {
		return realm.Realm{}, err
	}
	return i.realms.ByName(ctx, file.Realm)
}

// offlineMax is the life of offline sessions, limited only when it is said so,
// as in Keycloak.
func (file Realm) offlineMax() time.Duration {
	switch {
	case !file.OfflineSessionMaxLifespanEnabled:
		return 0
	case file.OfflineSessionMaxLifespan == 0:
		return 60 * 24 * time.Hour
	}
	return seconds(file.OfflineSessionMaxLifespan)
}

func (file Realm) settings() realm.Settings {
	s := realm.Settings{
		SigningAlgorithm:                jose.Algorithm(file.DefaultSignatureAlgorithm),
		AccessTokenType:                 file.AccessTokenType,
		AccessTokenLifespan:             seconds(file.AccessTokenLifespan),
		SSOSessionIdleTimeout:           seconds(file.SSOSessionIdleTimeout),
		SSOSessionMaxLifespan:           seconds(file.SSOSessionMaxLifespan),
		AccessCodeLifespan:              seconds(file.AccessCodeLifespan),
		AccessCodeLifespanLogin:         seconds(file.AccessCodeLifespanLogin),
		OfflineSessionIdleTimeout:       seconds(file.OfflineSessionIdleTimeout),
		OfflineSessionMaxLifespan:       file.offlineMax(),
		RememberMe:                      file.RememberMe,
		ClientSessionIdleTimeout:        seconds(file.ClientSessionIdleTimeout),
		ClientSessionMaxLifespan:        seconds(file.ClientSessionMaxLifespan),
		ClientOfflineSessionIdleTimeout: seconds(file.ClientOfflineSessionIdleTimeout),
		ClientOfflineSessionMaxLifespan: seconds(file.ClientOfflineSessionMaxLifespan),
		SSOSessionIdleTimeoutRememberMe: seconds(file.SSOSessionIdleTimeoutRememberMe),
		SSOSessionMaxLifespanRememberMe: seconds(file.SSOSessionMaxLifespanRememberMe),
		PARLifespan:                     file.lifespan(file.PARRequestURILifespan, attrPARLifespan),
		DeviceCodeLifespan:              file.lifespan(file.DeviceCodeLifespan, attrDeviceLifespan),
		DevicePollingInterval:           file.lifespan(file.DevicePollingInterval, attrDeviceInterval),
		RefreshGrace:                    seconds(file.RefreshGrace),
		RefreshMaxReuse:                 file.RefreshTokenMaxReuse,
		KeyRotation:                     seconds(file.KeyRotation),
	}
	s.DefaultClientScopes, s.OptionalClientScopes = file.DefaultDefaultClientScopes, file.DefaultOptionalClientScopes
	for _, scope := range file.ClientScopes {
		s.ClientScopes = append(s.ClientScopes, realm.ClientScope{
			Name: scope.Name, Attributes: scope.Attributes, Mappers: mappers(scope.ProtocolMappers),
		})
	}
	file.mapScopes(&s)
	s.Roles, s.Groups = file.definitions(), groups(file.Groups)
	return s
}

func (i *Issuer) importClient(ctx context.Context, r realm.Realm, file Client, g given) error {
	old, err := i.clients.ByClientID(ctx, r, file.ClientID)
	known := err == nil
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return err
	}
	c, err := file.over(old, r, g)
	if err == nil {
		err = checkProfile(r.Settings, c)
	}
	if err == nil {
		c, err = i.withSecret(c, file)
	}
	if err != nil {
		return err
	}
	if known && reflect.DeepEqual(old, c) {
		return nil
	}
	if known && old.Enabled && !c.Enabled {
		if _, err = i.sessions.EndClient(ctx, r, c.ClientID, revocation.ReasonDisabled); err != nil {
			return err
		}
		i.metrics.revoke(revocation.ReasonDisabled)
	}
	_, err = i.clients.Put(ctx, c)
	return err
}

// checkProfile: what the client's profile asks of its realm (FAPI 2.0 §5.3.2.2,
// §5.4.1).
func checkProfile(s realm.Settings, c client.Client) error {
	if !c.FAPI() {
		return nil
	}
	for _, alg := range []jose.Algorithm{c.AccessTokenAlgorithm(), c.IDTokenAlgorithm()} {
		if alg = cmp.Or(alg, s.SigningAlgorithm); !c.Signs(alg) {
			return fmt.Errorf("its tokens would be signed with %s, which its profile forbids", alg)
		}
	}
	switch {
	case s.AccessCodeLifespan > time.Minute:
		return errors.New("accessCodeLifespan is more than the minute that its profile allows")
	case s.PARLifespan >= 10*time.Minute:
		return errors.New("parRequestUriLifespan is not less than the ten minutes that its profile allows")
	}
	return nil
}

// over is the client as the file wants it, on top of what the store has.
func (file Client) over(old client.Client, r realm.Realm, g given) (client.Client, error) {
	c := old
	c.RealmID = r.ID
	c.ClientID = file.ClientID
	c.Name = file.Name
	c.Enabled = orTrue(file.Enabled)
	c.PublicClient = file.PublicClient
	c.ClientAuthenticatorType = file.ClientAuthenticatorType
	c.StandardFlowEnabled = orTrue(file.StandardFlowEnabled) && !file.BearerOnly
	c.ServiceAccountsEnabled = file.ServiceAccountsEnabled
	c.DirectAccessGrantsEnabled = file.DirectAccessGrantsEnabled
	c.ConsentRequired = file.ConsentRequired
	c.RedirectURIs = file.redirects()
	c.PostLogoutRedirectURIs = file.postLogout()
	c.WebOrigins = file.WebOrigins
	c.DefaultClientScopes, c.OptionalClientScopes = file.scopes(r.Settings)
	c.Mappers = mappers(file.ProtocolMappers)
	c.FullScopeAllowed = file.FullScopeAllowed
	c.ServiceAccount, c.ScopeRoles = g.account, g.scope
	c.Audience = file.Audience
	c.FrontchannelLogout = file.FrontchannelLogout
	c.JWKSURI = file.JWKSURI
	c.AccessTokenLifespan = seconds(file.AccessTokenLifespan)
	c.Attributes = file.Attributes
	c.JWKS = nil
	if len(file.JWKS) > 0 {
		set, err := json.Marshal(file.JWKS)
		if err != nil {
			return c, fmt.Errorf("jwks: %w", err)
		}
		c.JWKS = set
	}
	return c, nil
}

// withSecret gives c the file's secret: sealed if the client signs with it,
// and else as a hash.
func (i *Issuer) withSecret(c client.Client, file Client) (client.Client, error) {
	c, err := withRotated(c)
	if err != nil {
		return c, err
	}
	if c.ClientAuthenticatorType == client.AuthSecretJWT {
		c.SecretHash = ""
		return i.withSealed(c, file)
	}
	c.SecretHash, c.SecretSealed = "", nil
	if file.Secret != "" {
		c.SecretHash = client.HashSecret(file.Secret)
	}
	return c, nil
}

// Attributes of a client whose secret is being rotated, as in Keycloak: the
// secret before, in clear, and until when it is good, in Unix seconds.
const (
	attrRotated      = "client.secret.rotated"
	attrRotatedUntil = "client.secret.rotated.expiration.time"
)

// withRotated takes the secret before out of the attributes, which are stored
// as they are: of it, too, only a hash is.
func withRotated(c client.Client) (client.Client, error) {
	c.OldSecretHash, c.OldSecretUntil = "", time.Time{}
	old := c.Attributes[attrRotated]
	if old == "" {
		return c, nil
	}
	if c.PublicClient || c.ClientAuthenticatorType == client.AuthSecretJWT {
		return c, fmt.Errorf("attribute %s: only a client that sends its secret can have two", attrRotated)
	}
	until, err := strconv.ParseInt(c.Attributes[attrRotatedUntil], 10, 64)
	if err != nil || until <= 0 {
		return c, fmt.Errorf("attribute %s: want Unix seconds, beside %s", attrRotatedUntil, attrRotated)
	}
	c.Attributes = maps.Clone(c.Attributes)
	delete(c.Attributes, attrRotated)
	c.OldSecretHash, c.OldSecretUntil = client.HashSecret(old), time.Unix(until, 0).UTC()
	return c, nil
}

// withSealed seals anew only if it must, so that the same file changes nothing.
func (i *Issuer) withSealed(c client.Client, file Client) (_ client.Client, err error) {
	if len(c.AssertionAlgorithms()) > 0 && len(file.Secret) < c.MinSignSecret() {
		return c, fmt.Errorf("a secret to sign with has %d bytes or more (RFC 7518 §3.2)", c.MinSignSecret())
	}
	old, newest, err := i.secrets.Open(c)
	if err == nil && newest && subtle.ConstantTimeCompare(old, []byte(file.Secret)) == 1 {
		return c, nil
	}
	c.SecretSealed, err = i.secrets.Seal(c, file.Secret)
	return c, err
}

func (i *Issuer) importUser(ctx context.Context, r realm.Realm, file User) error {
	old, err := i.users.ByUsername(ctx, r, file.Username)
	known := err == nil
	if err != nil && !errors.Is(err, user.ErrNotFound) {
		return err
	}
	u, err := i.overUser(file, old, r)
	if err != nil {
		return err
	}
	if known && reflect.DeepEqual(old, u) {
		return nil
	}
	if known && old.Enabled && !u.Enabled {
		if _, err = i.sessions.EndUser(ctx, r, u.ID, revocation.ReasonDisabled); err != nil {
			return err
		}
		i.metrics.revoke(revocation.ReasonDisabled)
	}
	_, err = i.users.Put(ctx, u)
	i.streams.Signal()
	return err
}

// overUser is the user as the file wants it, on top of what the store has; a
// file without a password leaves the one that is there.
func (i *Issuer) overUser(file User, old user.User, r realm.Realm) (user.User, error) {
	u := old
	u.RealmID = r.ID
	if old.ID == "" {
		u.ID, u.Username = file.ID, file.Username
	} else if file.ID != "" && file.ID != old.ID {
		return u, errors.New("the user of that name has another id: tokens and sessions know people by it")
	}
	u.Enabled = orTrue(file.Enabled)
	u.Email = file.Email
	u.EmailVerified = file.EmailVerified
	u.FirstName = file.FirstName
	u.LastName = file.LastName
	u.Attributes = file.Attributes
	u.Roles = realm.Roles{Realm: file.RealmRoles, Client: file.ClientRoles}
	u.Groups = file.Groups
	for _, credential := range file.Credentials {
		if credential.hashed() {
			hash, err := userauth.FromKeycloak(credential.CredentialData, credential.SecretData)
			if err != nil {
				return u, err
			}
			u.PasswordHash = hash
			continue
		}
		if old.PasswordHash != "" {
			same, err := userauth.Verify(old.PasswordHash, credential.Value)
			if err != nil {
				return u, err
			}
			if same {
				continue
			}
		}
		hash, err := userauth.Hash(i.c.Rand, credential.Value)
		if err != nil {
			return u, err
		}
		u.PasswordHash = hash
	}
	return u, nil
}

// hashed reports whether it is a password as Keycloak exports it.
func (c Credential) hashed() bool { return c.Type == "password" && c.Value == "" && c.SecretData != "" }

func orTrue(b *bool) bool { return b == nil || *b }

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
