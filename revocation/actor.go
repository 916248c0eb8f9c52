package revocation

import "context"

// Actor says who had something revoked, for the audit trail: one of the
// constants below, or a kind and, after a colon, which one. Never a secret.
type Actor string

// Actors that need no name.
const (
	ActorSweeper Actor = "sweeper" // what has expired is ended
	ActorImport  Actor = "import"  // a realm file
	ActorCLI     Actor = "cli"     // tegata on the machine of the store
	ActorBrowser Actor = "browser" // a browser without a session of its own, by an id_token_hint
)

// ActorClient is an authenticated client, by its client_id.
func ActorClient(id string) Actor { return Actor("client:" + id) }

// ActorUser is a person at a browser, by sub.
func ActorUser(id string) Actor { return Actor("user:" + id) }

// ActorReceiver is another issuer, by the name of what hears of it.
func ActorReceiver(name string) Actor { return Actor("receiver:" + name) }

type actorKey struct{}

// By returns a context in which everything is revoked by that actor. It changes
// nothing but what is written down about it.
func By(ctx context.Context, a Actor) context.Context { return context.WithValue(ctx, actorKey{}, a) }

// ActorOf returns who acts, or "" if nobody has said.
func ActorOf(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	return a
}
