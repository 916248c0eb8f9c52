// Package revocation says what is revoked: records, their targets, and the
// commit-ordered revisions that number them. It does no I/O and knows neither
// issuer nor authz; it is the vocabulary both halves share.
//
// A Set answers the one question an enforcement point has: is this token dead?
package revocation

import "time"

// Revision numbers committed revocations, strictly rising in commit order
// within one Epoch. A reader that has seen revision N has seen everything up
// to N. Zero is "before the first revocation".
type Revision uint64

// Epoch names one unbroken history of revisions. It changes when a store was
// restored or replaced; revisions of different epochs do not compare.
type Epoch string

// Kind says which claim of a token a Target is matched against.
type Kind uint8

// The kinds of targets. Their numbers are stored and sent: never reuse one.
const (
	KindToken         Kind = 1 // jti equals
	KindSession       Kind = 2 // sid equals
	KindClientSession Kind = 3 // sid and azp equal
	KindSubject       Kind = 4 // sub equals, and the token is older
	KindClient        Kind = 5 // azp equals, and the token is older
	KindIssuer        Kind = 6 // every token of the issuer that is older
	KindKey           Kind = 7 // kid equals
)

// String names a kind as operators see it.
func (k Kind) String() string {
	switch k {
	case KindToken:
		return "token"
	case KindSession:
		return "session"
	case KindClientSession:
		return "client_session"
	case KindSubject:
		return "subject"
	case KindClient:
		return "client"
	case KindIssuer:
		return "issuer"
	case KindKey:
		return "key"
	default:
		return "unknown"
	}
}

// Target names the tokens that a Record kills, within one issuer.
type Target struct {
	Kind   Kind
	ID     string // jti, sid, sub, azp or kid; empty for KindIssuer
	Client string // azp, for KindClientSession only
}

// Reason says why a Record was written: one of the constants below.
type Reason string

// Reasons, as shown to operators in logs, metrics and the audit trail.
const (
	ReasonRevoked       Reason = "revoked"        // RFC 7009 by the client
	ReasonLogout        Reason = "logout"         // the user, or RP-initiated
	ReasonAdmin         Reason = "admin"          // an operator
	ReasonRefreshReuse  Reason = "refresh_reuse"  // a rotated refresh token came back
	ReasonCodeReuse     Reason = "code_reuse"     // an authorization code came back
	ReasonSessionExpiry Reason = "session_expiry" // idle or max lifetime passed early
	ReasonDisabled      Reason = "disabled"       // user, client or realm disabled or deleted
	ReasonConsent       Reason = "consent"        // the user withdrew consent
	ReasonKeyWithdrawn  Reason = "key_withdrawn"  // signing key withdrawn
	ReasonCredential    Reason = "credential"     // a credential changed or leaked
	ReasonClaims        Reason = "claims"         // what its tokens say is no longer so
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{
		ReasonRevoked, ReasonLogout, ReasonAdmin, ReasonRefreshReuse, ReasonCodeReuse,
		ReasonSessionExpiry, ReasonDisabled, ReasonConsent, ReasonKeyWithdrawn, ReasonCredential, ReasonClaims,
	}
}

// Record is one committed revocation.
type Record struct {
	Revision Revision
	Issuer   string // the iss claim of the tokens it kills
	Target   Target

	// IssuedBefore judges tokens that carry no rev claim (those of foreign
	// issuers): such a token is older if its iat, in whole seconds, is at or
	// before it. Tokens with rev are older if rev < Revision; no clocks.
	IssuedBefore time.Time

	// ExpiresAt is when the last token that the record could match has
	// expired by itself; afterwards the record is dropped everywhere.
	ExpiresAt   time.Time
	Reason      Reason
	CommittedAt time.Time

	// Actor is known where the record was committed and not sent to watchers:
	// it decides nothing.
	Actor Actor
}

// Token is what a revocation can be matched against: the few claims that
// issuer and authz must agree on, and nothing else of the token.
type Token struct {
	Issuer   string // iss
	ID       string // jti
	Session  string // sid; empty if the token has no session
	Subject  string // sub
	Client   string // azp, or client_id
	Key      string // kid of the signature
	Rev      Revision
	HasRev   bool      // whether the token carries a rev claim
	IssuedAt time.Time // iat
}

// Trust says how far a Set may be relied on at this moment.
type Trust uint8

// Unknown holds until the first snapshot is whole. Fresh holds while a lease
// is valid. Stale holds once it has ended.
const (
	Unknown Trust = iota
	Fresh
	Stale
)

func (t Trust) String() string {
	switch t {
	case Fresh:
		return "fresh"
	case Stale:
		return "stale"
	default:
		return "unknown"
	}
}
