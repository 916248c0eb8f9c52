package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/receiver"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

// newReceivers wires what hears from other issuers.
func (i *Issuer) newReceivers() (*receiver.Receivers, error) {
	for _, s := range i.c.Receivers {
		if strings.HasPrefix(s.Issuer, i.c.BaseURL+"/realms/") {
			return nil, fmt.Errorf("receiver %q: %s is ours, and its revocations end sessions: use its own endpoints", s.Name, s.Issuer)
		}
	}
	return receiver.New(receiver.Config{
		Sources: i.c.Receivers, Sessions: i.sessions, Authorize: func(req *http.Request, realm, scope string) (string, error) {
			return i.authorizeCall(req, realm, scope)
		}, Counted: i.metrics.hear,
		Revoked: func(w http.ResponseWriter, req *http.Request, rev revocation.Revision, why revocation.Reason) {
			if w == nil { // nobody waits for it
				i.metrics.revoke(why)
				return
			}
			i.revoked(w, req, rev, why)
		},
		HTTP: i.c.HTTP, Now: i.c.Now, Logger: i.c.Logger,
	})
}

// foreignOf are the issuers that a realm speaks for.
func (i *Issuer) foreignOf(realmName string) []string {
	var all []string
	for _, s := range i.c.Receivers {
		if s.Realm == realmName {
			all = append(all, s.Issuer)
		}
	}
	return all
}

// authorizeCall returns the client whose token, with one of the scopes, of a
// realm is on a request.
func (i *Issuer) authorizeCall(req *http.Request, realmName string, scopes ...string) (string, error) {
	compact, ok := bearerIn(req.Header.Values("Authorization"))
	if !ok || compact == "" {
		return "", challenge(http.StatusUnauthorized, "", "", nil)
	}
	r, read, err := i.readScoped(req.Context(), compact, scopes...)
	switch {
	case status.Code(err) == codes.Unavailable:
		return "", oauth.ServerError(err)
	case status.Code(err) == codes.PermissionDenied:
		return "", challenge(http.StatusForbidden, "insufficient_scope", "The token lacks scope "+strings.Join(scopes, " or "), nil)
	case err == nil && r.Name != realmName:
		err = errors.New("token of another realm")
	case err == nil && read.Binding != session.Binding{}:
		err = errors.New("a bound token is no bearer token")
	}
	if err != nil {
		return "", challenge(http.StatusUnauthorized, "invalid_token", "The token is not valid here", err)
	}
	return read.Token.Client, nil
}

// challenge is a refusal of RFC 6750 §3; without a code it only asks for a token.
func challenge(code int, word, description string, cause error) *oauth.Error {
	value := "Bearer"
	if word != "" {
		value = fmt.Sprintf("Bearer error=%q, error_description=%q", word, description)
	} else {
		word, description = "invalid_token", "A bearer token is required"
	}
	return &oauth.Error{Code: word, Description: description, Status: code, Header: http.Header{"Www-Authenticate": {value}}, Cause: cause}
}
