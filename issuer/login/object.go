package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
)

// maxObject is the largest request object that is fetched, in bytes.
const maxObject = 32 << 10

// objectSkew is how far a client's clock may be off.
const objectSkew = 15 * time.Second

// objectClaims are the claims of a request object that are no parameters
// (RFC 9101 §4, RFC 7519 §4.1).
type objectClaims struct {
	ClientID  string       `json:"client_id"`
	Issuer    string       `json:"iss"`
	Subject   string       `json:"sub"`
	Audience  jose.Texts   `json:"aud"`
	Resource  jose.Texts   `json:"resource"`
	Expires   *json.Number `json:"exp"`
	NotBefore *json.Number `json:"nbf"`
}

// object is the parameters of a signed request object (RFC 9101 §6). Only what
// is in it counts: what stands beside it in the clear could be anybody's.
func (h *Handler) object(ctx context.Context, r realm.Realm, c client.Client, compact string) (values map[string]string, resources []string, err error) {
	payload, err := h.c.Keys.VerifySigned(ctx, c, compact, jose.Accept{
		Algorithms: c.RequestAlgorithms(), Types: []string{"", "JWT", "oauth-authz-req+jwt"},
	})
	if err != nil {
		return nil, nil, invalidObject(err)
	}
	var claims objectClaims
	if err := jose.ReadClaims(payload, &claims); err != nil {
		return nil, nil, invalidObject(err)
	}
	if err := claims.check(r, c, h.c.Now()); err != nil {
		return nil, nil, invalidObject(err)
	}
	members, err := jose.ReadObject(payload)
	if err != nil {
		return nil, nil, invalidObject(err)
	}
	values, err = objectParameters(members)
	return values, claims.Resource, err
}

// check is RFC 9101 §6.3 and §10.8. iss and aud may be absent, but not others'.
// sub is what tells a client assertion (RFC 7523), which is no request.
func (o objectClaims) check(r realm.Realm, c client.Client, now time.Time) error {
	switch {
	case o.ClientID != c.ClientID:
		return errors.New("client_id is not the client's")
	case o.Issuer != "" && o.Issuer != c.ClientID:
		return errors.New("iss is not the client")
	case o.Subject == c.ClientID:
		return errors.New("sub is the client: this is a client assertion")
	case len(o.Audience) > 0 && !contains(o.Audience, r.Issuer, r.Issuer+"/protocol/openid-connect/auth"):
		return errors.New("aud is not this issuer")
	}
	if o.Expires != nil {
		if end, err := o.Expires.Int64(); err != nil || now.Add(-objectSkew).Unix() >= end {
			return errors.New("exp is past")
		}
	}
	if o.NotBefore != nil {
		if begin, err := o.NotBefore.Int64(); err != nil || now.Add(objectSkew).Unix() < begin {
			return errors.New("nbf is to come")
		}
	}
	return nil
}

func contains(all jose.Texts, wanted ...string) bool {
	for _, a := range all {
		for _, w := range wanted {
			if a == w {
				return true
			}
		}
	}
	return false
}

// objectParameters are claims as parameters: numbers and JSON as a query would
// spell them.
func objectParameters(members map[string]any) (map[string]string, error) {
	values := make(map[string]string, len(members))
	for name, v := range members {
		switch v := v.(type) {
		case string:
			values[name] = v
		case json.Number:
			values[name] = v.String()
		case map[string]any, []any:
			text, err := json.Marshal(v)
			if err != nil {
				return nil, invalidObject(err)
			}
			values[name] = string(text)
		}
	}
	for _, v := range values {
		if strings.Contains(v, "\x00") {
			return nil, invalidObject(errors.New("a NUL in a parameter")) // no store is sure to keep it
		}
	}
	if values["request"] != "" || values["request_uri"] != "" { // RFC 9101 §4
		return nil, invalidObject(errors.New("a request inside the request"))
	}
	return values, nil
}

// fetchObject gets a request object from where its client registered it
// (RFC 9101 §5.2). It follows no redirects: they are registered by nobody.
func (h *Handler) fetchObject(ctx context.Context, c client.Client, uri string) (string, error) {
	if !c.AllowsRequestURI(uri) {
		return "", &oauth.Error{Code: "request_uri_not_supported"}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := h.get(ctx, uri)
	if err != nil {
		return "", &oauth.Error{Code: "invalid_request_uri", Cause: err}
	}
	return body, nil
}

func (h *Handler) get(ctx context.Context, uri string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return "", err
	}
	web := *h.c.HTTP
	web.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := web.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxObject+1))
	if err != nil {
		return "", err
	}
	if len(body) > maxObject {
		return "", errors.New("request object too large")
	}
	return string(body), nil
}

// invalidObject is invalid_request_object (RFC 9101 §7) with a cause for our log.
func invalidObject(cause error) error {
	return &oauth.Error{Code: "invalid_request_object", Cause: cause}
}
