package verify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/revocation"
)

// maxSeconds is the largest NumericDate, the end of the year 9999: beyond it
// nothing is a time, and arithmetic could overflow.
const maxSeconds = 253402300799

// keycloakAccess are the typ claims of Keycloak's and our access tokens; others
// (ID, Refresh, Offline, Logout) are signed with the same keys.
var keycloakAccess = []string{"Bearer", keycloakDPoP}

// keycloakDPoP is the typ claim of an access token that is bound to a key.
const keycloakDPoP = "DPoP"

// read turns the claims of a token whose signature holds into a Token, and says
// how many bytes it takes. The clock is not its business.
func (i *issuer) read(h jose.Header, u unverified) (t *Token, size int, err error) {
	for _, name := range []string{"iss", "exp"} {
		if _, ok := u.claims[name]; !ok {
			return nil, 0, wrongClaim(name)
		}
	}
	return i.token(u.document, h.KeyID)
}

// document is a JSON object as far as it was read.
type document struct {
	text   string
	claims map[string]any
	reads  map[string]bool // which members are in claims; nil: all
	shape  jose.Shape
}

func readDocument(text string, reads map[string]bool) (d document, err error) {
	d = document{text: text, reads: reads}
	d.claims, d.shape, err = jose.ReadMembers(text, reads)
	return d, err
}

// readsOf names the claims that token looks at. A token has many more, which
// only policies may ask for.
func readsOf(issuers []Issuer) map[string]bool {
	reads := map[string]bool{}
	for _, name := range []string{"iss", "aud", "sub", "azp", "client_id", "jti", "sid", "iat", "nbf", "exp", "rev", "typ", "cnf"} {
		reads[name] = true
	}
	for _, i := range issuers {
		reads[cmp.Or(i.ScopeClaim, defaultScopeClaim)] = true
	}
	return reads
}

// token turns claims into a Token. iss and exp may be missing: then the issuer
// is the one that was asked, and it did not say when the token expires.
func (i *issuer) token(d document, key string) (t *Token, size int, err error) {
	c := claims{object: d.claims, reads: d.reads}
	t = &Token{
		payload: d.text,
		Revocation: revocation.Token{
			Issuer:   i.trust.Issuer,
			ID:       c.text("jti"),
			Session:  c.text("sid"),
			Subject:  c.required("sub"), // RFC 9068 §2.2; without it a revoked subject lives on
			Client:   c.client(),
			Key:      key,
			IssuedAt: c.time("iat"),
		},
		Expires:   c.time("exp"),
		NotBefore: c.time("nbf"),
		Scopes:    c.scopes(i.trust.ScopeClaim),
	}
	t.Revocation.Rev, t.Revocation.HasRev = c.rev()
	t.Binding, err = c.binding()
	audience, kind, issuer := c.texts("aud"), c.text("typ"), c.text("iss")
	switch {
	case c.wrong != "":
		return nil, 0, wrongClaim(c.wrong)
	case err != nil:
		return nil, 0, err
	case c.has("iss") && issuer != i.trust.Issuer:
		return nil, 0, ErrIssuer
	case c.has("typ") && !slices.Contains(keycloakAccess, kind):
		return nil, 0, fmt.Errorf("%w: claim typ", ErrType)
	case kind == keycloakDPoP && t.Binding.Key == nil:
		return nil, 0, wrongClaim("cnf.jkt")
	case !i.trust.InsecureAnyAudience && !slices.ContainsFunc(audience, i.isAudience):
		return nil, 0, ErrAudience
	}
	return t, entryFrame + len(d.text)*5/4 + sizeOf(d), nil // allocation rounds up
}

func (i *issuer) isAudience(name string) bool { return slices.Contains(i.trust.Audience, name) }

func wrongClaim(name string) error { return fmt.Errorf("%w: %s", ErrClaims, name) }

// claims reads members of the types that they must have, and remembers the
// first that has another.
type claims struct {
	object map[string]any
	reads  map[string]bool // which members are in it; nil: all
	wrong  string          // claim
}

// has fails for a claim that was not read: of it nobody knows.
func (c *claims) has(name string) bool {
	if c.reads != nil && !c.reads[name] {
		c.fail(name)
	}
	_, ok := c.object[name]
	return ok
}

func (c *claims) fail(name string) {
	if c.wrong == "" {
		c.wrong = name
	}
}

// text is a string, or "" if there is none.
func (c *claims) text(name string) string {
	has := c.has(name)
	s, ok := c.object[name].(string)
	if has && !ok {
		c.fail(name)
	}
	return s
}

// required is a string that is not empty.
func (c *claims) required(name string) string {
	s := c.text(name)
	if s == "" {
		c.fail(name)
	}
	return s
}

// client is azp (OpenID Connect Core §2, Keycloak) or client_id (RFC 9068).
func (c *claims) client() string {
	azp, id := c.text("azp"), c.text("client_id")
	if azp != "" {
		return azp
	}
	return id
}

// texts is a string or an array of strings (RFC 7519 §4.1.3).
func (c *claims) texts(name string) []string {
	has := c.has(name)
	switch v := c.object[name].(type) {
	case string:
		return []string{v}
	case []any:
		list := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				c.fail(name)
			}
			list[i] = s
		}
		return list
	}
	if has {
		c.fail(name)
	}
	return nil
}

// time is a NumericDate (RFC 7519 §2) in whole seconds since 1970, or the zero
// time if there is none.
func (c *claims) time(name string) time.Time {
	if !c.has(name) {
		return time.Time{}
	}
	number, _ := c.object[name].(json.Number)
	seconds, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || seconds < 0 || seconds > maxSeconds {
		c.fail(name)
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// rev is the revision of the issuer's state that the token vouches for.
func (c *claims) rev() (revocation.Revision, bool) {
	if !c.has("rev") {
		return 0, false
	}
	number, _ := c.object["rev"].(json.Number)
	rev, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		c.fail("rev")
	}
	return revocation.Revision(rev), err == nil
}

// scopes is a string of scopes between spaces (RFC 6749 §3.3) or an array of
// scopes, each of which is one. What could be read as two, or not be sent in a
// header, is refused.
func (c *claims) scopes(name string) []string {
	names := c.texts(name)
	if s, ok := c.object[name].(string); ok {
		names = strings.FieldsFunc(s, func(r rune) bool { return r == ' ' })
	}
	var scopes []string
	for _, s := range names {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			c.fail(name)
		}
		if !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// Brief makes the input.token document but for the claims: issuer, scopes (a
// set), subject, client, session, binding (a set of "dpop" and "mtls"). client,
// session and binding are undefined if the token has none. It is not kept:
// what is decided about a token is, and terms take much memory.
func (t *Token) Brief() *ast.Term { return ast.NewTerm(ast.NewObject(t.members()...)) }

func (t *Token) members() [][2]*ast.Term {
	members := make([][2]*ast.Term, 0, 7)
	members = append(members,
		ast.Item(keyIssuer, ast.StringTerm(t.Revocation.Issuer)),
		ast.Item(keyScopes, set(t.Scopes)),
		ast.Item(keySubject, ast.StringTerm(t.Revocation.Subject)),
	)
	if client := t.Revocation.Client; client != "" {
		members = append(members, ast.Item(keyClient, ast.StringTerm(client)))
	}
	if session := t.Revocation.Session; session != "" {
		members = append(members, ast.Item(keySession, ast.StringTerm(session)))
	}
	if names := t.Binding.names(); names != nil {
		members = append(members, ast.Item(keyBinding, set(names)))
	}
	return members
}

// Document is the whole input.token document: that of Brief and the claims, all
// of them. It is made when it is first asked for, and shared from then on:
// building it computes every hash, and its objects and sets sort themselves
// under a sync.Once, so that many evaluations can read it at once.
func (t *Token) Document() *ast.Term {
	t.whole.Do(func() {
		members := t.members()
		if object, _, err := jose.ReadMembers(t.payload, nil); err == nil { // read has read it
			if claims, err := ast.InterfaceToValue(object); err == nil {
				members = append(members, ast.Item(keyClaims, ast.NewTerm(claims)))
			}
		}
		t.document = ast.NewTerm(ast.NewObject(members...))
	})
	return t.document
}

// Keys of the input.token document.
var (
	keyIssuer  = ast.StringTerm("issuer")
	keyClaims  = ast.StringTerm("claims")
	keyScopes  = ast.StringTerm("scopes")
	keySubject = ast.StringTerm("subject")
	keyClient  = ast.StringTerm("client")
	keySession = ast.StringTerm("session")
	keyBinding = ast.StringTerm("binding")
)

func set(names []string) *ast.Term {
	s := ast.NewSetWithCapacity(len(names))
	for _, name := range names {
		s.Add(ast.StringTerm(name))
	}
	return ast.NewTerm(s)
}
