package realm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

// Settings are a realm's settings, with the names and defaults of Keycloak's
// realm representation where it has them. The zero Duration means the default.
type Settings struct {
	SigningAlgorithm                jose.Algorithm `json:"defaultSignatureAlgorithm,omitempty"`       // ES256
	AccessTokenType                 string         `json:"accessTokenType,omitempty"`                 // header typ: "at+jwt" (default) or "JWT"
	AccessTokenLifespan             time.Duration  `json:"accessTokenLifespan,omitempty"`             // 5 min
	SSOSessionIdleTimeout           time.Duration  `json:"ssoSessionIdleTimeout,omitempty"`           // 30 min
	SSOSessionMaxLifespan           time.Duration  `json:"ssoSessionMaxLifespan,omitempty"`           // 10 h
	AccessCodeLifespan              time.Duration  `json:"accessCodeLifespan,omitempty"`              // 60 s
	AccessCodeLifespanLogin         time.Duration  `json:"accessCodeLifespanLogin,omitempty"`         // 30 min
	OfflineSessionIdleTimeout       time.Duration  `json:"offlineSessionIdleTimeout,omitempty"`       // 30 d
	OfflineSessionMaxLifespan       time.Duration  `json:"offlineSessionMaxLifespan,omitempty"`       // none
	ClientSessionIdleTimeout        time.Duration  `json:"clientSessionIdleTimeout,omitempty"`        // as the user session
	ClientSessionMaxLifespan        time.Duration  `json:"clientSessionMaxLifespan,omitempty"`        // as the user session
	ClientOfflineSessionIdleTimeout time.Duration  `json:"clientOfflineSessionIdleTimeout,omitempty"` // as the offline session
	ClientOfflineSessionMaxLifespan time.Duration  `json:"clientOfflineSessionMaxLifespan,omitempty"` // as the offline session
	RememberMe                      bool           `json:"rememberMe,omitempty"`                      // whether people may ask for it when they log in
	SSOSessionIdleTimeoutRememberMe time.Duration  `json:"ssoSessionIdleTimeoutRememberMe,omitempty"` // as without
	SSOSessionMaxLifespanRememberMe time.Duration  `json:"ssoSessionMaxLifespanRememberMe,omitempty"` // as without
	PARLifespan                     time.Duration  `json:"parRequestUriLifespan,omitempty"`           // 1 min
	DeviceCodeLifespan              time.Duration  `json:"oauth2DeviceCodeLifespan,omitempty"`        // 10 min
	DevicePollingInterval           time.Duration  `json:"oauth2DevicePollingInterval,omitempty"`     // 5 s
	RefreshGrace                    time.Duration  `json:"refreshGrace,omitempty"`                    // 10 s, see store.md §3
	RefreshMaxReuse                 int            `json:"refreshTokenMaxReuse,omitempty"`            // 3
	KeyRotation                     time.Duration  `json:"keyRotation,omitempty"`                     // how long a key signs; 0: until somebody rotates (not Keycloak's)

	ClientScopes         []ClientScope   `json:"clientScopes,omitempty"`     // besides the built-in ones, or instead
	DefaultClientScopes  []string        `json:"defaultDefaultClientScopes"` // of clients that name none; nil: Keycloak's
	OptionalClientScopes []string        `json:"defaultOptionalClientScopes"`
	Roles                RoleDefinitions `json:"roles,omitzero"`
	Groups               []Group         `json:"groups,omitempty"`
}

// WithDefaults returns s with every zero field set to its default. What has
// none stays zero.
func (s Settings) WithDefaults() Settings {
	s.SigningAlgorithm = cmp.Or(s.SigningAlgorithm, jose.ES256)
	s.AccessTokenType = cmp.Or(s.AccessTokenType, "at+jwt") // RFC 9068 §2.1
	s.AccessTokenLifespan = cmp.Or(s.AccessTokenLifespan, 5*time.Minute)
	s.SSOSessionIdleTimeout = cmp.Or(s.SSOSessionIdleTimeout, 30*time.Minute)
	s.SSOSessionMaxLifespan = cmp.Or(s.SSOSessionMaxLifespan, 10*time.Hour)
	s.AccessCodeLifespan = cmp.Or(s.AccessCodeLifespan, time.Minute)
	s.AccessCodeLifespanLogin = cmp.Or(s.AccessCodeLifespanLogin, 30*time.Minute)
	s.OfflineSessionIdleTimeout = cmp.Or(s.OfflineSessionIdleTimeout, 30*24*time.Hour)
	s.PARLifespan = cmp.Or(s.PARLifespan, time.Minute)
	s.DeviceCodeLifespan = cmp.Or(s.DeviceCodeLifespan, 10*time.Minute)
	s.DevicePollingInterval = cmp.Or(s.DevicePollingInterval, 5*time.Second)
	s.RefreshGrace = cmp.Or(s.RefreshGrace, 10*time.Second)
	s.RefreshMaxReuse = cmp.Or(s.RefreshMaxReuse, 3)
	if s.DefaultClientScopes == nil {
		s.DefaultClientScopes = slices.Clone(defaultScopes)
	}
	if s.OptionalClientScopes == nil {
		s.OptionalClientScopes = slices.Clone(optionalScopes)
	}
	return s
}

// Limits on settings.
const (
	minRotation = time.Hour                 // longer than a key is published ahead
	maxLifetime = 10 * 365 * 24 * time.Hour // so that now + lifetime stays a time that every part can write
	maxScopes   = 1000
	maxScope    = 255 // bytes
)

func (s Settings) check() error {
	if err := jose.CheckSigning(s.SigningAlgorithm); err != nil && s.SigningAlgorithm != "" {
		return fmt.Errorf("defaultSignatureAlgorithm: %w", err)
	}
	if s.KeyRotation != 0 && (s.KeyRotation < minRotation || s.KeyRotation > maxLifetime) {
		return fmt.Errorf("keyRotation %v: want 0 (never) or %v to %v", s.KeyRotation, minRotation, maxLifetime)
	}
	switch s.AccessTokenType {
	case "", "at+jwt", "JWT":
	default:
		return fmt.Errorf("accessTokenType %q: want at+jwt or JWT", s.AccessTokenType)
	}
	for _, d := range []time.Duration{
		s.AccessTokenLifespan, s.SSOSessionIdleTimeout, s.SSOSessionMaxLifespan, s.AccessCodeLifespan,
		s.AccessCodeLifespanLogin, s.OfflineSessionIdleTimeout, s.OfflineSessionMaxLifespan, s.RefreshGrace,
		s.ClientSessionIdleTimeout, s.ClientSessionMaxLifespan, s.ClientOfflineSessionIdleTimeout, s.ClientOfflineSessionMaxLifespan,
		s.SSOSessionIdleTimeoutRememberMe, s.SSOSessionMaxLifespanRememberMe,
		s.PARLifespan, s.DeviceCodeLifespan, s.DevicePollingInterval,
	} {
		if d < 0 || d > maxLifetime {
			return fmt.Errorf("lifetime %v: want 0 to %v", d, maxLifetime)
		}
	}
	if s.RefreshMaxReuse < 0 {
		return fmt.Errorf("refreshTokenMaxReuse %d: want 0 or more", s.RefreshMaxReuse)
	}
	left := maxGroups
	return errors.Join(s.checkScopes(), s.checkRoles(), checkGroups(s.Groups, 1, &left))
}
