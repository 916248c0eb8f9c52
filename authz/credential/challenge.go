package credential

import (
	"strconv"
	"strings"
	"time"
)

// Error codes of challenges.
const (
	InvalidRequest    = "invalid_request"                  // RFC 6750 §3.1
	InvalidToken      = "invalid_token"                    // RFC 6750 §3.1
	InsufficientScope = "insufficient_scope"               // RFC 6750 §3.1
	InvalidProof      = "invalid_dpop_proof"               // RFC 9449 §7.1
	UseNonce          = "use_dpop_nonce"                   // RFC 9449 §9; beside the header DPoP-Nonce
	InsufficientUser  = "insufficient_user_authentication" // RFC 9470 §3
)

// Challenge is a WWW-Authenticate challenge (RFC 9110 §11.6.1): what a client
// has to bring so that the request is allowed. Empty members are left out.
type Challenge struct {
	Scheme      string // Bearer or DPoP
	Realm       string
	Error       string // one of the codes above
	Description string
	Scopes      []string // that would do (RFC 6750 §3)

	// The user's authentication that would do (RFC 9470 §3): one of the
	// classes, and not older than MaxAge. nil: of any age; zero: at once.
	ACRValues []string
	MaxAge    *time.Duration // in whole seconds

	ResourceMetadata string   // URL of the resource's metadata (RFC 9728 §5.1)
	Algorithms       []string // of proofs; of scheme DPoP only (RFC 9449 §7.1)
}

// String is the field value: one challenge. A second scheme is a second field.
func (c Challenge) String() string {
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, name+"="+quote(value))
		}
	}
	add("realm", c.Realm)
	add("error", c.Error)
	add("error_description", c.Description)
	add("scope", strings.Join(c.Scopes, " "))
	add("acr_values", strings.Join(c.ACRValues, " "))
	if c.MaxAge != nil {
		add("max_age", strconv.FormatInt(max(0, int64(*c.MaxAge/time.Second)), 10))
	}
	add("resource_metadata", c.ResourceMetadata)
	if c.Scheme == DPoP {
		add("algs", strings.Join(c.Algorithms, " "))
	}
	if len(params) == 0 {
		return c.Scheme
	}
	return c.Scheme + " " + strings.Join(params, ", ")
}

// quote makes a quoted-string (RFC 9110 §5.6.4) of what may stand in one.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c < ' ' || c >= 0x7f:
			continue
		case c == '"' || c == '\\':
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}
