// Package ssf says what security events mean: it reads and writes the payloads
// of security event tokens (RFC 8417) as OpenID Shared Signals Framework 1.0
// profiles them, with the events of CAEP 1.0 and RISC 1.0, and turns an event
// into the revocations that it calls for. It does no I/O and must not know keys,
// signatures or transport: whoever calls Read has verified what it is given.
//
//	payload ──Read──► Token{Events} ──Mapping.Records──► revocation.Record …
//
// An event that is about tokens kills; where a subject is wider than any
// target, the next wider target is taken, so that erring refuses. What cannot
// be expressed is said to be Unmapped, never dropped in silence.
package ssf

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

// Type is the typ of a security event token (RFC 8417 §2.3).
const Type = "secevent+jwt"

// ErrMalformed is what is no security event token. Test with errors.Is.
var ErrMalformed = errors.New("malformed security event token")

// maxID bounds every identifier, in bytes: a record is kept and sent with it.
const maxID = 512

// maxMany bounds the events of a token and the names of a subject.
const maxMany = 16

// maxDepth bounds subjects within subjects; a complex one holds simple ones.
const maxDepth = 3

// Token is the payload of a security event token, read.
type Token struct {
	Issuer   string
	ID       string // jti
	IssuedAt time.Time
	Expires  time.Time // zero: none, as SSF 1.0 wants it
	Audience []string
	Events   []Event // exactly one in SSF 1.0; RFC 8417 §2 allows several of one happening
}

// Event is one event of a Token.
type Event struct {
	Type    string
	Subject Subject
	// At is when it happened: event_timestamp of CAEP 1.0 §2, toe of RFC 8417
	// §2.2, else when the token was issued; never later than that.
	At         time.Time
	ChangeType string // change_type of a credential-change (CAEP 1.0 §3.3)
	// CredentialType is credential_type of a credential-change or -compromise.
	CredentialType string
	// Reason is why it happened, for administrators, in English: reason_admin
	// (CAEP 1.0 §2). It is written, and not read.
	Reason string
	State  string // state of a verification (SSF 1.0 §8.1.4)
}

// Subject is whom an event is about (RFC 9493, SSF 1.0 §3). Of a simple subject
// only the fields of its Format are set.
type Subject struct {
	Format      string
	Issuer      string             // iss of iss_sub and jwt_id
	ID          string             // sub, jti, id or email
	Parts       map[string]Subject // of a complex subject: user, session, device …
	Identifiers []Subject          // of aliases
}

// The formats of subjects that can be mapped.
const (
	FormatIssSub  = "iss_sub"
	FormatOpaque  = "opaque"
	FormatJWTID   = "jwt_id"
	FormatEmail   = "email"
	FormatComplex = "complex"
	FormatAliases = "aliases"
)

// Read reads a verified payload, strictly (see jose.ReadObject). Every error
// is ErrMalformed.
func Read(payload []byte) (Token, error) {
	claims, err := jose.ReadObject(payload)
	if err != nil {
		return Token{}, malformed("not a JSON object")
	}
	r := reader{}
	t := Token{
		Issuer: r.text(claims, "iss"), ID: r.text(claims, "jti"), IssuedAt: r.time(claims, "iat"), Audience: r.audience(claims["aud"]),
	}
	if _, ok := claims["exp"]; ok {
		t.Expires = r.time(claims, "exp")
	}
	events, ok := claims["events"].(map[string]any)
	r.require(ok && len(events) > 0 && len(events) <= maxMany, "events")
	for name, body := range events {
		members, ok := body.(map[string]any)
		r.require(ok, "events")
		t.Events = append(t.Events, r.event(t, name, members, claims))
	}
	if r.err != nil {
		return Token{}, r.err
	}
	return t, nil
}

func (r *reader) event(t Token, name string, body, claims map[string]any) Event {
	e := Event{Type: name, At: t.IssuedAt}
	if _, ok := claims["toe"]; ok {
		e.At = r.time(claims, "toe")
	}
	if _, ok := body["event_timestamp"]; ok {
		e.At = r.time(body, "event_timestamp")
	}
	if e.At.After(t.IssuedAt) { // also one in milliseconds
		e.At = t.IssuedAt
	}
	e.ChangeType, _ = body["change_type"].(string)
	e.CredentialType, _ = body["credential_type"].(string)
	e.State, _ = body["state"].(string)
	subject, ok := claims["sub_id"].(map[string]any)
	if !ok {
		subject, ok = body["subject"].(map[string]any) // drafts of SSF before 1.0
	}
	if ok {
		e.Subject = r.subject(subject, 0)
	}
	return e
}

// subject reads what it knows; a format that is unknown stays as a name.
func (r *reader) subject(m map[string]any, depth int) Subject {
	s := Subject{}
	s.Format, _ = m["format"].(string)
	if depth > maxDepth {
		r.require(false, "sub_id")
		return s
	}
	switch s.Format {
	case FormatIssSub:
		s.Issuer, s.ID = r.text(m, "iss"), r.text(m, "sub")
	case FormatJWTID:
		s.Issuer, s.ID = r.text(m, "iss"), r.text(m, "jti")
	case FormatOpaque:
		s.ID = r.text(m, "id")
	case FormatEmail:
		s.ID = r.text(m, "email")
	case FormatAliases:
		list, ok := m["identifiers"].([]any)
		r.require(ok && len(list) <= maxMany, "identifiers")
		for _, i := range list {
			one, ok := i.(map[string]any)
			r.require(ok, "identifiers")
			s.Identifiers = append(s.Identifiers, r.subject(one, depth+1))
		}
	case FormatComplex, "": // drafts have no format on a complex subject
		s.Parts = map[string]Subject{}
		for name, v := range m {
			if part, ok := v.(map[string]any); ok {
				s.Parts[name] = r.subject(part, depth+1)
			}
		}
	}
	return s
}

// reader keeps the first mistake.
type reader struct{ err error }

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

func (r *reader) require(ok bool, name string) {
	if !ok && r.err == nil {
		r.err = malformed("member " + strconv.Quote(name) + " is missing or wrong")
	}
}

// text is an identifier that can be kept: not empty, not endless, without NUL.
func (r *reader) text(m map[string]any, name string) string {
	s, ok := m[name].(string)
	r.require(ok && s != "" && len(s) <= maxID && !strings.Contains(s, "\x00"), name)
	return s
}

// maxTime keeps times within what all that handle them agree on.
const maxTime = 1 << 53

// time is a NumericDate; fractions of a second are cut off.
func (r *reader) time(m map[string]any, name string) time.Time {
	n, _ := m[name].(json.Number)
	f, err := n.Float64()
	r.require(err == nil && f >= 0 && f <= maxTime, name)
	if r.err != nil {
		return time.Time{}
	}
	return time.Unix(int64(f), 0)
}

func (r *reader) audience(v any) []string {
	switch aud := v.(type) {
	case string:
		return []string{aud}
	case []any:
		var all []string
		for _, a := range aud {
			s, ok := a.(string)
			r.require(ok, "aud")
			all = append(all, s)
		}
		return all
	}
	r.require(v == nil, "aud") // absent: the caller decides
	return nil
}
