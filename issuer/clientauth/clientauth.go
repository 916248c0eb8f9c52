// Package clientauth finds out which client is calling: client_secret_basic,
// client_secret_post, client_secret_jwt, private_key_jwt, tls_client_auth,
// self_signed_tls_client_auth, or none for public clients.
//
// It must not know grants or sessions, nor what the client may do.
//
// The idea: first see which one method the request uses, and refuse two
// (RFC 6749 §2.3); then find the client that it names; then check. Codes and
// texts are Keycloak 26's: an unknown or disabled client is invalid_client, a
// wrong secret unauthorized_client, both 401 with one text and after the same
// work; a failed assertion is invalid_client 400. Unlike Keycloak's, a 401 to
// who used the header names its scheme (RFC 6749 §5.2); nobody else's does: in
// a browser it would open a password dialogue over the application.
package clientauth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// Methods, as the metadata name them (OpenID Connect Core §9).
const (
	MethodBasic         = "client_secret_basic"
	MethodPost          = "client_secret_post"
	MethodSecretJWT     = "client_secret_jwt"
	MethodPrivateKeyJWT = "private_key_jwt"
	MethodTLS           = "tls_client_auth"             // RFC 8705 §2.1
	MethodSelfSigned    = "self_signed_tls_client_auth" // RFC 8705 §2.2
	MethodNone          = "none"
)

// Methods are those that Authenticate can be asked for, for discovery
// documents: without authorities to trust, TLS asks nobody for a certificate.
func (a *Authenticator) Methods() []string {
	methods := []string{MethodPrivateKeyJWT, MethodBasic, MethodPost}
	if a.c.ClientCAs != nil {
		methods = append(methods, MethodTLS, MethodSelfSigned)
	}
	return append(methods, MethodSecretJWT, MethodNone)
}

// textInvalid is Keycloak's one text for whatever is wrong with a client or its secret.
const textInvalid = "Invalid client or Invalid client credentials"

// allowedMethod is the attribute by which a client is held to Basic or post;
// Keycloak sets it at dynamic registration.
const allowedMethod = "client.secret.authentication.allowed.method"

// Clients finds clients; *client.Clients does.
type Clients interface {
	ByClientID(ctx context.Context, r realm.Realm, clientID string) (client.Client, error)
}

// Replay remembers single-use values; session.Sessions satisfies it.
type Replay interface {
	Once(ctx context.Context, r realm.Realm, kind, value string, expires time.Time) error
}

// Config configures an Authenticator.
type Config struct {
	Clients  Clients
	Replay   Replay
	Replayed error    // by which Replay says "seen before" (session.ErrReplayed); nil: every error of Replay refuses as a replay
	Secrets  *Secrets // opens what clients sign with; nil: no client can
	// ClientCAs are the authorities whose certificates clients authenticate
	// with; nil: none can. They need not be what the handshake verifies by.
	ClientCAs *x509.CertPool
	Now       func() time.Time
	HTTP      *http.Client // for jwks_uri
	Logger    *slog.Logger // of failed jwks_uri fetches; nil: none
}

// Authenticator finds out which client is calling.
type Authenticator struct {
	c       Config
	remotes *remotes
	nobody  client.Client // stands in for unknown clients, so that they cost the same
}

// New checks the configuration.
func New(c Config) (*Authenticator, error) {
	if c.Clients == nil || c.Replay == nil || c.Now == nil {
		return nil, errors.New("clientauth: Clients, Replay and Now are required")
	}
	return &Authenticator{
		c:       c,
		remotes: newRemotes(c),
		nobody:  client.Client{SecretHash: client.HashSecret("nobody knows this one")},
	}, nil
}

// Result is the calling client.
type Result struct {
	Client client.Client
	Method string // as the Method… constants have it
}

// Authenticate identifies the client of a request whose form was parsed.
// Errors are *oauth.Error with Keycloak 26's codes and texts. Two methods at
// once are refused (RFC 6749 §2.3).
func (a *Authenticator) Authenticate(ctx context.Context, r realm.Realm, req *http.Request, form oauth.Form) (Result, error) {
	p, err := present(req, form)
	if err != nil {
		return Result{}, err
	}
	if p.method == MethodPrivateKeyJWT {
		return a.byAssertion(ctx, r, p)
	}
	result, err := a.byOther(ctx, r, p, req)
	if p.method == MethodBasic {
		err = challenged(r, err)
	}
	return result, err
}

// challenged adds the scheme to a 401 (RFC 6749 §5.2).
func challenged(r realm.Realm, err error) error {
	var e *oauth.Error
	if !errors.As(err, &e) || e.HTTPStatus() != http.StatusUnauthorized {
		return err
	}
	told := *e
	told.Header = http.Header{"Www-Authenticate": {fmt.Sprintf("Basic realm=%q", r.Name)}}
	return &told
}

// byOther authenticates by a secret or a certificate, or identifies a public
// client.
func (a *Authenticator) byOther(ctx context.Context, r realm.Realm, p presented, req *http.Request) (Result, error) {
	c, found, err := a.find(ctx, r, p.clientID)
	if err != nil {
		return Result{}, err
	}
	// Checked before anything is known about the client, so that the answer
	// to an unknown one takes as long.
	right := c.CheckSecret(p.secret, a.c.Now())
	switch {
	case !found:
		return Result{}, oauth.InvalidClient(textInvalid)
	case c.PublicClient:
		return Result{Client: c, Method: MethodNone}, nil
	case signs(c):
		return Result{}, badAssertion("Parameter client_assertion_type is missing", nil)
	case c.MutualTLS() && p.method != MethodNone:
		return Result{}, oauth.InvalidClient(textInvalid)
	case c.MutualTLS():
		return a.byCertificate(ctx, c, req)
	case p.secret == "":
		return Result{}, wrongSecret(textInvalid)
	}
	if want := c.Attributes[allowedMethod]; want != "" && want != p.method {
		return Result{}, wrongSecret("Invalid method used to get client secret. Client requires method '" + want + "' to obtain client secret from the request")
	}
	if !right {
		return Result{}, wrongSecret(textInvalid)
	}
	return Result{Client: c, Method: p.method}, nil
}

// signs reports whether a client authenticates by assertions.
func signs(c client.Client) bool {
	return c.ClientAuthenticatorType == client.AuthJWT || c.ClientAuthenticatorType == client.AuthSecretJWT
}

// find returns the enabled client of that id, or a stand-in and false.
func (a *Authenticator) find(ctx context.Context, r realm.Realm, clientID string) (client.Client, bool, error) {
	if clientID == "" {
		return a.nobody, false, nil
	}
	c, err := a.c.Clients.ByClientID(ctx, r, clientID)
	switch {
	case errors.Is(err, client.ErrNotFound):
		return a.nobody, false, nil
	case err != nil:
		return client.Client{}, false, oauth.ServerError(err)
	}
	return c, c.Enabled, nil
}

// wrongSecret is 401 unauthorized_client: Keycloak's answer, where RFC 6749
// §5.2 would have invalid_client.
func wrongSecret(description string) *oauth.Error {
	e := oauth.UnauthorizedClient(description)
	e.Status = http.StatusUnauthorized
	return e
}
