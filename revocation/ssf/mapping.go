package ssf

import (
	"github.com/tegata/tegata/revocation"
)

// Mapping says how the subjects of a transmitter are named in the tokens of an
// issuer.
type Mapping struct {
	Issuer      string // the iss of the tokens
	Transmitter string // the iss of the events, which subjects may name in its place
	// SessionAsSubject is for an issuer whose access tokens have no sid: the end
	// of a session is the end of all older tokens of its person.
	SessionAsSubject bool
	// EmailIsSubject is for an issuer whose sub is the person's e-mail address.
	EmailIsSubject bool
}

// Outcome is what became of an event.
type Outcome string

// The outcomes.
const (
	Revokes  Outcome = "revoked"  // there are records
	Control  Outcome = "control"  // about the stream itself
	NoEffect Outcome = "ignored"  // not about tokens, or of a type that is unknown
	Unmapped Outcome = "unmapped" // about tokens that it does not name in a way that can be matched
)

// scope is how much an event kills.
type scope int

const (
	none    scope = iota
	session       // the session, if one is named
	person        // all older tokens of the person, if one is named
)

// killers are the events that revoke, by what and why.
var killers = map[string]struct {
	scope scope
	why   revocation.Reason
}{
	SessionRevoked: {session, revocation.ReasonLogout},
	// Tokens that say what is no longer so: the next refresh gets true ones.
	TokenClaimsChange:    {person, revocation.ReasonClaims},
	CredentialChange:     {person, revocation.ReasonCredential},
	AccountDisabled:      {person, revocation.ReasonDisabled},
	AccountPurged:        {person, revocation.ReasonDisabled},
	CredentialCompromise: {person, revocation.ReasonCredential},
	SessionsRevoked:      {person, revocation.ReasonLogout},
}

// Records are the revocations that an event calls for; Target, IssuedBefore
// and Reason of each are set.
func (m Mapping) Records(e Event) ([]revocation.Record, Outcome) {
	kill := killers[e.Type]
	switch {
	case e.Type == Verification || e.Type == StreamUpdated:
		return nil, Control
	case kill.scope == none:
		return nil, NoEffect
	case e.Type == CredentialChange && e.ChangeType == "create":
		return nil, NoEffect // one more credential makes no token worse
	}
	targets := m.targets(e.Subject, kill.scope, "")
	if len(targets) == 0 {
		return nil, Unmapped
	}
	var all []revocation.Record
	for _, t := range targets {
		all = append(all, revocation.Record{Target: t, IssuedBefore: e.At, Reason: kill.why})
	}
	return all, Revokes
}

// targets are what names a subject, as the part of a complex one that it is.
func (m Mapping) targets(s Subject, want scope, part string) []revocation.Target {
	switch s.Format {
	case FormatIssSub:
		if m.ours(s.Issuer) {
			return m.named(s.ID, part == "session")
		}
	case FormatJWTID:
		if m.ours(s.Issuer) {
			return []revocation.Target{{Kind: revocation.KindToken, ID: s.ID}}
		}
	case FormatOpaque:
		if part == "" && want == session { // a session's or a person's: it does not say
			return append(m.named(s.ID, true), m.named(s.ID, false)...)
		}
		return m.named(s.ID, part == "session")
	case FormatEmail:
		if m.EmailIsSubject {
			return m.named(s.ID, false)
		}
	case FormatAliases:
		var all []revocation.Target
		for _, i := range s.Identifiers {
			all = append(all, m.targets(i, want, part)...)
		}
		return all
	case FormatComplex, "":
		return m.complex(s, want)
	}
	return nil
}

// complex takes the part that names most exactly what an event kills. Parts
// beside it (device, tenant, application …) would only make it narrower.
func (m Mapping) complex(s Subject, want scope) []revocation.Target {
	order := []string{"user", "session"}
	if want == session && !m.SessionAsSubject {
		order = []string{"session", "user"}
	}
	for _, name := range order {
		p, ok := s.Parts[name]
		if !ok || p.Format == FormatComplex || p.Format == "" {
			continue
		}
		if t := m.targets(p, want, name); len(t) > 0 {
			return t
		}
	}
	return nil
}

// named is an identifier as a target. A session that tokens do not name cannot
// be matched.
func (m Mapping) named(id string, isSession bool) []revocation.Target {
	switch {
	case isSession && m.SessionAsSubject:
		return nil
	case isSession:
		return []revocation.Target{{Kind: revocation.KindSession, ID: id}}
	}
	return []revocation.Target{{Kind: revocation.KindSubject, ID: id}}
}

func (m Mapping) ours(issuer string) bool { return issuer == m.Issuer || issuer == m.Transmitter }
