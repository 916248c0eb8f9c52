package ssf

import (
	"encoding/json"
	"fmt"
)

// claims are the payload of a security event token (RFC 8417 §2.2, SSF 1.0 §4).
type claims struct {
	Issuer   string         `json:"iss"`
	ID       string         `json:"jti"`
	IssuedAt int64          `json:"iat"`
	Audience any            `json:"aud"`
	Subject  map[string]any `json:"sub_id,omitempty"`
	Events   map[string]any `json:"events"`
}

// Payload is t with its one event, as Read reads it. An identifier of a subject
// that names no issuer is of t's.
func (t Token) Payload() ([]byte, error) {
	if len(t.Events) != 1 {
		return nil, fmt.Errorf("writing a security event token of %d events: SSF 1.0 wants one", len(t.Events))
	}
	e := t.Events[0]
	body := map[string]any{}
	if e.Type != Verification {
		body["event_timestamp"] = e.At.Unix()
	}
	for name, value := range map[string]string{"change_type": e.ChangeType, "credential_type": e.CredentialType, "state": e.State} {
		if value != "" {
			body[name] = value
		}
	}
	if e.Reason != "" {
		body["reason_admin"] = map[string]string{"en": e.Reason}
	}
	if e.Type == TokenClaimsChange {
		body["claims"] = map[string]any{} // required (CAEP 1.0 §3.2); what changed is not for everybody
	}
	var audience any = t.Audience
	if len(t.Audience) == 1 {
		audience = t.Audience[0]
	}
	return json.Marshal(claims{
		Issuer: t.Issuer, ID: t.ID, IssuedAt: t.IssuedAt.Unix(), Audience: audience,
		Subject: e.Subject.members(t.Issuer), Events: map[string]any{e.Type: body},
	})
}

// members are a subject as RFC 9493 and SSF 1.0 §3 write it.
func (s Subject) members(issuer string) map[string]any {
	m := map[string]any{"format": s.Format}
	if s.Issuer != "" {
		issuer = s.Issuer
	}
	switch s.Format {
	case FormatIssSub:
		m["iss"], m["sub"] = issuer, s.ID
	case FormatJWTID:
		m["iss"], m["jti"] = issuer, s.ID
	case FormatOpaque:
		m["id"] = s.ID
	case FormatEmail:
		m["email"] = s.ID
	case FormatComplex:
		for name, part := range s.Parts {
			m[name] = part.members(issuer)
		}
	case FormatAliases:
		list := make([]any, 0, len(s.Identifiers))
		for _, i := range s.Identifiers {
			list = append(list, i.members(issuer))
		}
		m["identifiers"] = list
	default:
		return nil
	}
	return m
}

// Known is s with each person under the name that somebody knows them by.
func (s Subject) Known(by func(sub string) string) Subject {
	if s.Format == FormatIssSub {
		s.ID = by(s.ID)
	}
	parts := make(map[string]Subject, len(s.Parts))
	for name, part := range s.Parts {
		parts[name] = part.Known(by)
	}
	s.Parts = parts
	return s
}

// OfPerson is a person, by the sub of their tokens.
func OfPerson(sub string) Subject { return Subject{Format: FormatIssSub, ID: sub} }

// OfSession is a session of a person, by the sid of its tokens.
func OfSession(sid, sub string) Subject {
	return Subject{Format: FormatComplex, Parts: map[string]Subject{"session": {Format: FormatOpaque, ID: sid}, "user": OfPerson(sub)}}
}
