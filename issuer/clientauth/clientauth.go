package clientauth

import (
	"context"
	"net/http"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// Replay remembers single-use values; session.Sessions satisfies it.
type Replay interface {
	Once(ctx context.Context, r realm.Realm, kind, value string, expires time.Time) error
}

// Config configures an Authenticator.
type Config struct {
	Clients *client.Clients
	Replay  Replay
	Now     func() time.Time
	HTTP    *http.Client // for jwks_uri
}

// Authenticator finds out which client is calling.
type Authenticator struct{}

// New checks the configuration.
func New(c Config) (*Authenticator, error) { panic("unbuilt") }

// Result is the calling client.
type Result struct {
	Client client.Client
	Method string // client_secret_basic, client_secret_post, private_key_jwt, none
}

// Authenticate identifies the client of a request whose form was parsed.
// Errors are *oauth.Error with Keycloak 26's codes and texts. Two methods at
// once are refused (RFC 6749 §2.3).
func (a *Authenticator) Authenticate(ctx context.Context, r realm.Realm, req *http.Request, form oauth.Form) (Result, error) {
	panic("unbuilt")
}
