package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// realmAlgorithms are those that a realm's keys can have.
var realmAlgorithms = jose.SigningAlgorithms()

// Read verifies a compact token of realm r, whichever kind it is. An expired
// token is returned with Expired set; the caller decides (logout hints may be).
// A token that is not ours, or not whole, is ErrInvalid.
func (t *Tokens) Read(ctx context.Context, r realm.Realm, compact string) (Read, error) {
	header, err := jose.ParseHeader(compact)
	if err != nil {
		return Read{}, invalid(err)
	}
	var payload []byte
	var allowed []Kind
	if header.Algorithm == jose.HS512 {
		allowed = []Kind{Refresh, Offline}
		payload, err = t.openOwn(ctx, r, header, compact)
	} else {
		allowed = []Kind{Access, ID}
		payload, err = t.openSigned(ctx, r, compact)
	}
	if err != nil {
		return Read{}, err
	}
	read, err := readClaims(payload, r, header, allowed)
	if err != nil {
		return Read{}, invalid(err)
	}
	read.Expired = !read.Expires.IsZero() && !t.now().Before(read.Expires)
	return read, nil
}

func (t *Tokens) openOwn(ctx context.Context, r realm.Realm, h jose.Header, compact string) ([]byte, error) {
	kid, key, err := t.keys.Own(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("reading token: %w", err)
	}
	if h.KeyID != kid { // it may be new, and made elsewhere
		if kid, key, err = t.keys.OwnAgain(ctx, r); err != nil {
			return nil, fmt.Errorf("reading token: %w", err)
		}
	}
	if h.KeyID != kid {
		return nil, invalid(jose.ErrUnknownKey)
	}
	payload, err := jose.VerifyHS512(compact, key, typJWT)
	if err != nil {
		return nil, invalid(err)
	}
	return payload, nil
}

func (t *Tokens) openSigned(ctx context.Context, r realm.Realm, compact string) ([]byte, error) {
	set, err := t.keys.Public(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("reading token: %w", err)
	}
	accept := jose.Accept{Algorithms: realmAlgorithms, Types: []string{typAccess, typJWT, accessType(r)}}
	_, payload, err := set.Verify(compact, accept)
	if errors.Is(err, jose.ErrUnknownKey) { // it may be new, and made elsewhere
		if set, err = t.keys.PublicAgain(ctx, r); err != nil {
			return nil, fmt.Errorf("reading token: %w", err)
		}
		_, payload, err = set.Verify(compact, accept)
	}
	if err != nil {
		return nil, invalid(err)
	}
	return payload, nil
}

func invalid(err error) error { return fmt.Errorf("%w: %w", ErrInvalid, err) }

// readClaims takes the claims for what they say, once the signature holds. The
// typ claim decides the kind, within the kinds that this sort of key signs.
func readClaims(payload []byte, r realm.Realm, h jose.Header, allowed []Kind) (Read, error) {
	claims, err := jose.ReadObject(payload)
	if err != nil {
		return Read{}, err
	}
	c := reader{claims: claims}
	read := Read{
		Kind: Kind(c.text("typ")), Claims: claims, Audience: c.audience(), Scope: c.optional("scope"),
		Token: revocation.Token{
			Issuer: c.text("iss"), ID: c.text("jti"), Session: c.optional("sid"), Subject: c.text("sub"),
			Client: c.text("azp"), Key: h.KeyID, IssuedAt: c.time("iat"),
		},
	}
	if read.Kind == typDPoP {
		read.Kind = Access
	}
	if _, read.Token.HasRev = claims["rev"]; read.Token.HasRev {
		read.Token.Rev = revocation.Revision(c.number("rev"))
	}
	if _, ok := claims["exp"]; ok || read.Kind != Offline {
		read.Expires = c.time("exp")
	}
	if read.Kind == Refresh || read.Kind == Offline {
		read.FamilyID, read.Generation = c.text("reuse_id"), c.number("gen")
		c.require(len(read.Audience) == 1 && read.Audience[0] == r.Issuer, "aud")
	}
	if read.Kind == Access {
		read.Binding = c.confirmation()
		read.UserInfo = c.texts("userinfo_claims")
	}
	c.require(slices.Contains(allowed, read.Kind), "typ")
	c.require(read.Kind == Access || h.Type == typJWT, "typ") // at+jwt is said of access tokens alone
	c.require(read.Token.Issuer == r.Issuer, "iss")
	return read, c.err
}

// reader reads claims and keeps the first that is missing or of a wrong type.
type reader struct {
	claims map[string]any
	err    error
}

func (c *reader) require(ok bool, name string) {
	if !ok && c.err == nil {
		c.err = fmt.Errorf("claim %q is missing or wrong", name)
	}
}

func (c *reader) text(name string) string {
	s, ok := c.claims[name].(string)
	c.require(ok && s != "", name)
	return s
}

func (c *reader) optional(name string) string {
	v, present := c.claims[name]
	s, ok := v.(string)
	c.require(ok || !present, name)
	return s
}

// texts is a list of strings, or nothing.
func (c *reader) texts(name string) []string {
	v, present := c.claims[name]
	list, ok := v.([]any)
	c.require(ok || !present, name)
	var all []string
	for _, v := range list {
		s, ok := v.(string)
		c.require(ok, name)
		all = append(all, s)
	}
	return all
}

func (c *reader) number(name string) uint64 {
	n, _ := c.claims[name].(json.Number)
	v, err := strconv.ParseUint(string(n), 10, 64)
	c.require(err == nil, name)
	return v
}

// maxTime keeps times within what time.Unix and JSON number readers agree on.
const maxTime = 1 << 53

func (c *reader) time(name string) time.Time {
	v := c.number(name)
	c.require(v <= maxTime, name)
	return time.Unix(int64(min(v, maxTime)), 0)
}

// confirmation is what the token is bound to. Members that are not ours make
// it unreadable: it is bound to something that nobody here would ask for.
func (c *reader) confirmation() session.Binding {
	v, present := c.claims["cnf"]
	if !present {
		return session.Binding{}
	}
	members, _ := v.(map[string]any)
	jkt, isJKT := members["jkt"].(string)
	x5t, isX5T := members["x5t#S256"].(string)
	known := 0
	for _, is := range []bool{isJKT, isX5T} {
		if is {
			known++
		}
	}
	c.require(known > 0 && known == len(members), "cnf")
	return session.Binding{JKT: jkt, X5T: x5t}
}

func (c *reader) audience() []string {
	switch aud := c.claims["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		out := make([]string, 0, len(aud))
		for _, a := range aud {
			s, ok := a.(string)
			c.require(ok, "aud")
			out = append(out, s)
		}
		c.require(len(out) > 0, "aud")
		return out
	}
	c.require(false, "aud")
	return nil
}
