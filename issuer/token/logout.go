package token

import (
	"context"
	"fmt"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/realm"
)

// Of logout tokens: how long they may be used, and what they are (OpenID
// Connect Back-Channel Logout 1.0 §2.4).
const (
	logoutLife = 2 * time.Minute // as Keycloak 26
	typLogout  = "logout+jwt"

	eventLogout        = "http://schemas.openid.net/event/backchannel-logout"
	eventRevokeOffline = "revoke_offline_access" // Keycloak's
)

// Logout is a session's end that a client is told of.
type Logout struct {
	ClientID      string
	Subject       string
	SessionID     string         // empty: any session of the subject's
	RevokeOffline bool           // Keycloak's event that asks the client to give up offline access
	Algorithm     jose.Algorithm // of the client's ID tokens; empty: the realm's
}

type logoutClaims struct {
	IssuedAt  int64               `json:"iat"`
	Expires   int64               `json:"exp"`
	ID        string              `json:"jti"`
	Issuer    string              `json:"iss"`
	Audience  string              `json:"aud"`
	Subject   string              `json:"sub"`
	Type      string              `json:"typ"`
	SessionID string              `json:"sid,omitempty"`
	Events    map[string]struct{} `json:"events"`
}

// MintLogout signs a logout token. It never has a nonce, so that it cannot
// stand for an ID token.
func (t *Tokens) MintLogout(ctx context.Context, r realm.Realm, l Logout) (string, error) {
	signer, err := t.keys.Signer(ctx, r, l.Algorithm)
	if err != nil {
		return "", fmt.Errorf("minting logout token: %w", err)
	}
	id, err := t.newID("")
	if err != nil {
		return "", err
	}
	now := t.now()
	events := map[string]struct{}{eventLogout: {}}
	if l.RevokeOffline {
		events[eventRevokeOffline] = struct{}{}
	}
	return sign(signer, typLogout, logoutClaims{
		IssuedAt: now.Unix(), Expires: now.Add(logoutLife).Unix(), ID: id, Issuer: r.Issuer, Audience: l.ClientID,
		Subject: l.Subject, Type: "Logout", SessionID: l.SessionID, Events: events,
	}, nil)
}
