// Package logout ends a user session on demand: RP-initiated logout (OpenID
// Connect RP-Initiated Logout 1.0) and Keycloak's POST with a refresh token.
// It must not know what the end of a session revokes.
//
// What may end a session without asking is proof of it: an ID token that we
// signed, expired or not, names the session and its client (id_token_hint), a
// refresh token with its client's authentication does too. A hint ends the
// session that it names and no other: somebody else's hint in a forged link
// ends somebody else's session. Without proof the person is asked first, on a
// page whose form is bound to the browser (theme.Forms), and what ends is the
// browser's own session.
//
// A post_logout_redirect_uri is followed only if it is registered with the
// client that the hint or client_id names; a wrong one ends nothing (Keycloak
// 26). Offline sessions are not ended; what is given a refresh token of one ends
// that one.
//
// Clients that want the browser to tell them are told by frames of the page
// that comes last (OpenID Connect Front-Channel Logout 1.0). Those that want to
// be told directly are the business of backchannel.
package logout
