// Package check turns a Request into a Decision, in five steps: credential,
// verify, alive, policy, answer. It must not know Envoy, gRPC, or where keys,
// policies and revocations come from.
//
// # What holds whatever happens
//
// Every request that carries a token is checked for revocation, on a state no
// older than the request, which is pinned until the decision is made; no cache
// stands above that check. Whatever cannot be decided is refused.
//
// # The decision cache
//
// Rego is evaluated once for equal questions. The question is the token, the
// policy, and the values at every input path that the policy can read
// (policy/reads says which, or that no such list is sound). What is remembered
// hangs on the verified token itself, under the policy that decided: it goes
// when the token goes, is never seen by another token, and a policy that was
// swapped out takes its decisions along. Errors are never remembered.
package check
