package token

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
)

// MintUser mints the tokens of a user's grant.
func (t *Tokens) MintUser(ctx context.Context, r realm.Realm, o Order) (Set, error) {
	g := o.Grant
	if len(o.Kind) != 2 || g.User.ID == "" || g.User.UserID == "" || g.Family.ID == "" && !o.NoRefresh {
		return Set{}, errors.New("minting tokens: the grant is incomplete")
	}
	signer, err := t.keys.Signer(ctx, r, o.Client.AccessAlgorithm)
	if err != nil {
		return Set{}, fmt.Errorf("minting tokens: %w", err)
	}
	m := minting{t: t, r: r, o: o, g: g, signer: signer, now: t.now()}
	if m.exp, err = accessEnd(m.now, o.Client.AccessLife, g.Expires); err != nil {
		return Set{}, err
	}
	set := Set{
		ExpiresIn: seconds(m.exp - m.now.Unix()), Scope: g.Client.Scope, SessionID: g.User.ID, Type: string(typeOf(o.Binding)),
	}
	if set.AccessToken, err = m.access(); err != nil {
		return Set{}, err
	}
	if !o.NoRefresh {
		if set.RefreshToken, set.RefreshExpiresIn, err = m.refresh(ctx); err != nil {
			return Set{}, err
		}
	}
	if hasScope(g.Client.Scope, "openid") && !o.NoID {
		set.IDToken, err = m.id(ctx, set.AccessToken)
	}
	return set, err
}

// MintClient mints a client-credentials access token (no sid; sub is the
// stable service account id of the client, Keycloak: service-account-{client}).
// There is no refresh token (RFC 6749 §4.4.3) and, unlike Keycloak, no ID token
// with scope openid: nobody has logged in.
func (t *Tokens) MintClient(ctx context.Context, r realm.Realm, o ClientOrder) (Set, error) {
	signer, err := t.keys.Signer(ctx, r, o.Client.AccessAlgorithm)
	if err != nil {
		return Set{}, fmt.Errorf("minting client token: %w", err)
	}
	now := t.now()
	exp, err := accessEnd(now, o.Client.AccessLife, o.Expires)
	if err != nil {
		return Set{}, err
	}
	prefix := "trrtcc"
	if o.Exchanged {
		prefix = "trrtte"
	}
	id, err := t.newID(prefix)
	if err != nil {
		return Set{}, err
	}
	token, err := sign(signer, accessType(r), accessClaims{
		Expires: exp, IssuedAt: now.Unix(), ID: id,
		Issuer: r.Issuer, Audience: audience(o.Claims.Audience), Subject: o.Subject,
		Type: typeOf(o.Binding), Client: o.Client.ClientID, ClientID: o.Client.ClientID,
		ACR: "1", AllowedOrigins: o.Client.AllowedOrigins, Scope: o.Scope,
		Confirmation: confirm(o.Binding), Actor: o.Actor, Rev: o.Rev,
	}, o.Claims.Access)
	return Set{AccessToken: token, ExpiresIn: seconds(exp - now.Unix()), Scope: o.Scope, Type: string(typeOf(o.Binding))}, err
}

// minting is one MintUser: what all its tokens share.
type minting struct {
	t      *Tokens
	r      realm.Realm
	o      Order
	g      session.Grant
	signer jose.Signer
	now    time.Time
	exp    int64 // of access and ID token
}

// prefix is the kind of session and of token in a jti (Keycloak 26).
func (m *minting) prefix() string {
	switch {
	case m.o.Kind == "te": // lives in a session that is another's
		return "ntrt"
	case m.g.User.Offline:
		return "ofrt"
	}
	return "onrt"
}

// subject is in every token: one that said the user's id would undo the others.
func (m *minting) subject() string { return cmp.Or(m.o.Subject, m.g.User.UserID) }

func (m *minting) access() (string, error) {
	id, err := m.t.newID(m.prefix() + m.o.Kind)
	if err != nil {
		return "", err
	}
	var nonce, state string
	if m.o.Claims.Nonce {
		nonce = m.o.Nonce
	}
	if m.o.Claims.SessionState {
		state = m.g.User.ID
	}
	return sign(m.signer, accessType(m.r), accessClaims{
		Nonce: nonce, SessionState: state,
		Expires: m.exp, IssuedAt: m.now.Unix(), AuthTime: unix(m.g.User.AuthTime), ID: id,
		Issuer: m.r.Issuer, Audience: audience(m.o.Claims.Audience), Subject: m.subject(),
		Type: typeOf(m.o.Binding), Client: m.o.Client.ClientID, ClientID: m.o.Client.ClientID,
		SessionID: m.g.User.ID, ACR: m.g.User.ACR, AllowedOrigins: m.o.Client.AllowedOrigins,
		Scope: m.g.Client.Scope, Confirmation: confirm(m.o.Binding), Details: m.g.Family.Asked.Details, Actor: m.o.Actor, UserInfo: m.o.Claims.UserInfo, Rev: m.g.Rev,
	}, m.o.Claims.Access)
}

func (m *minting) id(ctx context.Context, accessToken string) (string, error) {
	signer, err := m.t.keys.Signer(ctx, m.r, m.o.Client.IDAlgorithm)
	if err != nil {
		return "", fmt.Errorf("minting ID token: %w", err)
	}
	id, err := m.t.newID("")
	if err != nil {
		return "", err
	}
	return sign(signer, typJWT, idClaims{
		Expires: m.exp, IssuedAt: m.now.Unix(), AuthTime: unix(m.g.User.AuthTime), ID: id,
		Issuer: m.r.Issuer, Audience: m.o.Client.ClientID, Subject: m.subject(),
		Type: ID, Client: m.o.Client.ClientID, Nonce: m.o.Nonce, SessionID: m.g.User.ID,
		TokenHash: tokenHash(signer.Algorithm, accessToken), ACR: m.g.User.ACR, Actor: m.o.Actor, Rev: m.g.Rev,
	}, m.o.Claims.ID)
}

func (m *minting) refresh(ctx context.Context) (string, time.Duration, error) {
	kid, key, err := m.t.keys.Own(ctx, m.r)
	if err != nil {
		return "", 0, fmt.Errorf("minting refresh token: %w", err)
	}
	kind := Refresh
	if m.g.User.Offline {
		kind = Offline
	}
	exp := refreshEnd(m.g)
	payload, err := json.Marshal(refreshClaims{
		Expires: exp, IssuedAt: m.g.Family.Rotated.Unix(), ID: refreshID(key, m.g.Family),
		Issuer: m.r.Issuer, Audience: m.r.Issuer, Subject: m.subject(),
		Type: kind, Client: m.o.Client.ClientID, SessionID: m.g.User.ID, Scope: m.g.Client.Scope,
		FamilyID: m.g.Family.ID, Generation: m.g.Family.Generation,
	})
	if err != nil {
		return "", 0, fmt.Errorf("writing refresh claims: %w", err)
	}
	token, err := jose.SignHS512(kid, key, typJWT, payload)
	if err != nil || exp == 0 {
		return token, 0, err
	}
	return token, max(0, seconds(exp-m.now.Unix())), nil
}

// refreshID is the jti of one generation: a UUID (version 8, RFC 9562 §5.8)
// out of HMAC-SHA-512, unguessable, and the same whenever it is asked for. The
// label keeps it apart from signatures with the same key: those are over
// base64url, which has no space.
func refreshID(key []byte, f session.Family) string {
	mac := hmac.New(sha512.New, key)
	mac.Write([]byte("refresh jti "))
	mac.Write(binary.BigEndian.AppendUint64(nil, f.Generation))
	mac.Write([]byte(f.ID))
	id := uuid.UUID(mac.Sum(nil)[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// refreshEnd is when a refresh token ends by itself, in Unix seconds: idle, or
// the end of family or session. It depends on the family's row, not on the
// clock. An offline token has no idle end of its own (Keycloak 26: no exp
// unless the offline session's life is limited): 0.
func refreshEnd(g session.Grant) int64 {
	var ends []time.Time
	if !g.User.Offline {
		ends = append(ends, g.Family.Expires)
		if g.Idle > 0 {
			ends = append(ends, g.Family.Rotated.Add(g.Idle))
		}
	}
	end := g.Expires
	for _, e := range ends {
		if !e.IsZero() && (end.IsZero() || e.Before(end)) {
			end = e
		}
	}
	return unix(end)
}

// accessEnd is min(now + life, limit) in Unix seconds, rounded down: no token
// outlives what it vouches for.
func accessEnd(now time.Time, life time.Duration, limit time.Time) (int64, error) {
	if life < time.Second {
		return 0, errors.New("minting tokens: the access token's life is below a second")
	}
	end := now.Add(life)
	if !limit.IsZero() && limit.Before(end) {
		end = limit
	}
	if end.Unix() <= now.Unix() {
		return 0, fmt.Errorf("minting tokens: %w", ErrSessionOver)
	}
	return end.Unix(), nil
}

func accessType(r realm.Realm) string {
	if r.Settings.AccessTokenType == "" {
		return typAccess
	}
	return r.Settings.AccessTokenType
}

func sign(s jose.Signer, typ string, protocol any, more map[string]any) (string, error) {
	claims, err := compose(protocol, more)
	if err != nil {
		return "", err
	}
	return s.Sign(typ, claims)
}

// tokenHash is at_hash: the left half of the hash that the signature's
// algorithm uses (OpenID Connect Core §3.1.3.6); SHA-512 with Ed25519.
func tokenHash(alg jose.Algorithm, token string) string {
	var sum []byte
	switch {
	case strings.HasSuffix(string(alg), "256"):
		h := sha256.Sum256([]byte(token))
		sum = h[:]
	case strings.HasSuffix(string(alg), "384"):
		h := sha512.Sum384([]byte(token))
		sum = h[:]
	default:
		h := sha512.Sum512([]byte(token))
		sum = h[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// unix is 0 for no time, so that the claim is left out.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
