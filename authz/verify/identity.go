package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/revocation"
)

// Identity is what has to be known of a token that was verified before, to
// tell when it dies: what revocations are matched against, and its end. It is
// no credential: who has it cannot use the token.
type Identity struct {
	Revocation revocation.Token
	Expires    time.Time // zero: nobody knows
}

// Identity of the token.
func (t *Token) Identity() Identity { return Identity{Revocation: t.Revocation, Expires: t.Expires} }

// identity is an Identity as text.
type identity struct {
	Issuer   string  `json:"iss"`
	ID       string  `json:"jti,omitempty"`
	Session  string  `json:"sid,omitempty"`
	Subject  string  `json:"sub"`
	Client   string  `json:"azp,omitempty"`
	Key      string  `json:"kid,omitempty"`
	Rev      *uint64 `json:"rev,omitempty"`
	IssuedAt int64   `json:"iat,omitempty"`
	Expires  int64   `json:"exp,omitempty"`
}

// String is the Identity as text, for ParseIdentity.
func (id Identity) String() string {
	r := id.Revocation
	text := identity{
		Issuer: r.Issuer, ID: r.ID, Session: r.Session, Subject: r.Subject, Client: r.Client, Key: r.Key,
		IssuedAt: unix(r.IssuedAt), Expires: unix(id.Expires),
	}
	if r.HasRev {
		rev := uint64(r.Rev)
		text.Rev = &rev
	}
	b, _ := json.Marshal(text) // strings and numbers always have an encoding
	return string(b)
}

// ParseIdentity reads what String wrote.
func ParseIdentity(text string) (Identity, error) {
	var read identity
	if err := jose.ReadClaims([]byte(text), &read); err != nil {
		return Identity{}, fmt.Errorf("reading a token's identity: %w", err)
	}
	if read.Issuer == "" || read.Subject == "" {
		return Identity{}, errors.New("reading a token's identity: no issuer or no subject")
	}
	id := Identity{
		Revocation: revocation.Token{
			Issuer: read.Issuer, ID: read.ID, Session: read.Session, Subject: read.Subject, Client: read.Client, Key: read.Key,
			IssuedAt: fromUnix(read.IssuedAt),
		},
		Expires: fromUnix(read.Expires),
	}
	if read.Rev != nil {
		id.Revocation.Rev, id.Revocation.HasRev = revocation.Revision(*read.Rev), true
	}
	return id, nil
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromUnix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// Still says whether a token that was verified before would be accepted now:
// nil, ErrIssuer, ErrExpired or ErrKey. Its signature is not looked at again,
// nor is anybody asked.
func (v *Verifier) Still(id Identity) error {
	i := v.issuers[id.Revocation.Issuer]
	if i == nil {
		return ErrIssuer
	}
	if !id.Expires.IsZero() && !v.now().Before(id.Expires.Add(i.trust.Leeway)) {
		return ErrExpired
	}
	if i.keys == nil || id.Revocation.Key == "" {
		return nil
	}
	if set, _ := i.keys.Current(); set != nil && !set.Has(id.Revocation.Key) {
		return ErrKey
	}
	return nil
}
