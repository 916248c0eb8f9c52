package clientauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/tegata/tegata/issuer/oauth"
)

// maxCredential bounds client ids and secrets, in bytes.
const maxCredential = 4 << 10

// presented is what a request says about its client; nothing is checked.
type presented struct {
	method    string
	clientID  string
	secret    string
	assertion string
}

// present finds the one method that a request uses. A client_id beside the
// credentials is allowed if it names the same client.
func present(req *http.Request, form oauth.Form) (presented, error) {
	p := presented{method: MethodNone, clientID: form["client_id"]}
	methods := 0
	if basic, ok, err := basicHeader(req); err != nil {
		return presented{}, err
	} else if ok {
		if p.clientID != "" && p.clientID != basic.clientID {
			return presented{}, oauth.InvalidClient(textInvalid)
		}
		p = basic
		methods++
	}
	if secret := form["client_secret"]; secret != "" {
		p.method, p.secret = MethodPost, secret
		methods++
	}
	if form["client_assertion"] != "" || form["client_assertion_type"] != "" {
		if form["client_assertion_type"] != oauth.AssertionJWT {
			return presented{}, oauth.InvalidClient(textInvalid)
		}
		p.method, p.assertion = MethodPrivateKeyJWT, form["client_assertion"]
		methods++
	}
	if methods > 1 {
		return presented{}, oauth.InvalidRequest("more than one client authentication method")
	}
	if len(p.clientID) > maxCredential || len(p.secret) > maxCredential {
		return presented{}, oauth.InvalidClient(textInvalid)
	}
	return p, nil
}

// basicHeader reads the credentials of an Authorization header with the scheme
// Basic; other schemes are not for client authentication and are left alone.
func basicHeader(req *http.Request) (p presented, ok bool, err error) {
	values := req.Header.Values("Authorization")
	if len(values) == 0 {
		return p, false, nil
	}
	if len(values) > 1 {
		return p, false, oauth.InvalidRequest("more than one Authorization header")
	}
	scheme, credentials, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return p, false, nil
	}
	id, secret, ok := parseBasic(strings.TrimSpace(credentials))
	if !ok {
		return p, false, oauth.InvalidClient(textInvalid)
	}
	return presented{method: MethodBasic, clientID: id, secret: secret}, true, nil
}

// parseBasic decodes Basic credentials: base64 of id ":" secret, each of them
// form-encoded first (RFC 6749 §2.3.1).
func parseBasic(credentials string) (id, secret string, ok bool) {
	if len(credentials) > 4*maxCredential {
		return "", "", false
	}
	data, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(data), ":")
	id, ok1 := formDecode(id)
	secret, ok2 := formDecode(secret)
	return id, secret, ok && ok1 && ok2 && id != ""
}

// formDecode undoes form encoding. What is not form-encoded ("100%") is taken
// as it is: many clients send the plain value, and Keycloak 26 accepts it.
func formDecode(s string) (string, bool) {
	if decoded, err := url.QueryUnescape(s); err == nil {
		s = decoded
	}
	return s, utf8.ValidString(s) && !strings.Contains(s, "\x00")
}
