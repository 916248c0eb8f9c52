package client

import "fmt"

// Attributes by which a client asks to be told of logouts, as in Keycloak.
const (
	attrBackURL      = "backchannel.logout.url"
	attrBackSession  = "backchannel.logout.session.required"
	attrBackOffline  = "backchannel.logout.revoke.offline.tokens"
	attrFrontURL     = "frontchannel.logout.url"
	attrFrontSession = "frontchannel.logout.session.required"
)

// LogoutURL is where and how a client is told that a session is over.
type LogoutURL struct {
	URL           string
	WithSession   bool // name the session, not only the person
	RevokeOffline bool // ask it to give up its offline access too (back channel only)
}

// BackLogout is where the issuer tells the client (OpenID Connect Back-Channel
// Logout 1.0 §2.2); false if it does not want to know.
func (c Client) BackLogout() (LogoutURL, bool) {
	u := c.Attributes[attrBackURL]
	return LogoutURL{
		URL: u, WithSession: c.Attributes[attrBackSession] != "false", RevokeOffline: c.Attributes[attrBackOffline] == "true",
	}, u != ""
}

// FrontLogout is what the browser loads to tell the client (OpenID Connect
// Front-Channel Logout 1.0 §2); false if it does not want to know.
func (c Client) FrontLogout() (LogoutURL, bool) {
	u := c.Attributes[attrFrontURL]
	return LogoutURL{URL: u, WithSession: c.Attributes[attrFrontSession] != "false"}, u != "" && c.FrontchannelLogout
}

func (c Client) checkLogout() error {
	for _, name := range []string{attrBackURL, attrFrontURL} {
		if uri := c.Attributes[name]; uri != "" && !webAddress(uri) {
			return fmt.Errorf("attribute %s %.100q is not a web address without a fragment", name, uri)
		}
	}
	return nil
}
