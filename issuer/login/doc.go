// Package login is the authorization endpoint (RFC 6749 §3.1, OpenID Connect
// Core §3.1) and the login page. It must not know how tokens are minted.
//
// A request passes three gates in order. First the client and its redirect
// URI: until both are known to belong together, every error is a page of ours,
// because to redirect to an unregistered URI is to be an open redirector
// (RFC 9700 §4.11). Then the rest of the request, whose errors go back to the
// client. Then the person: a live session in the browser is single sign-on,
// otherwise the login page.
//
//	GET|POST auth ──► request ──► session? ──yes──► code ──► redirect
//	                                 │no                       ▲
//	                                 ▼                         │
//	                            login page ──► POST authenticate: password
//
// A request can also come by a client's own call (RFC 9126), in a signed object
// (RFC 9101), or by a device whose person types a code (RFC 8628): then the
// flow ends on a page of ours, and the device asks for its tokens itself.
//
// Before the code stands consent, for clients that need it: a page, its form
// (POST consent) and what session remembers of earlier answers.
//
// The checked request travels in the login form, sealed for this browser
// (theme.Forms): nothing is stored for people who have not proved who they
// are. When it comes back, the client is looked at again, for half an hour may
// have passed.
//
// A login always makes a new session with a new cookie, so a cookie planted in
// the browser before is worth nothing after (session fixation); the session
// that the browser had is ended.
//
// Differences from Keycloak 26, on purpose: only the code flow; redirect_uri
// is never optional; PKCE is asked of every public client and only S256 is
// taken; cookies are SameSite=Lax, not None, since nothing of ours is framed,
// and Secure only when our URL is https. So a cross-site POST to this endpoint
// comes without a session and shows the login page. A
// person who refuses consent stays logged in.
package login
