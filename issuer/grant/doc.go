// Package grant is the token endpoint (RFC 6749 §3.2). It must not know where
// tokens, sessions or clients are kept.
//
// The phases of a request stand once, in Handler.ServeRealm: read the form,
// authenticate the client, find the grant in a table, let it decide and mint,
// write the answer. A grant is one file with one function and one line in the
// table; discovery publishes the table's names. Texts are Keycloak 26's.
package grant
