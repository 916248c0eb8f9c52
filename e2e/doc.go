// Package e2e holds the promises that only the whole can keep: built binaries,
// a real Envoy, a real NGINX, real HTTP. Each test file is one promise.
//
// It must not know how Tegata works inside: it does what an operator, a client
// or an attacker could do from outside.
//
// The tests share one stack and run one after the other, because they kill and
// stop its programs; a test leaves the stack as it found it. What needs another
// configuration starts a stack of its own.
package e2e
