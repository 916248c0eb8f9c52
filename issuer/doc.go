// Package issuer is the assembled issuer: New wires the doors to the
// aggregates, Handler serves them, Run sweeps expired sessions and serves the
// revocation watch. It must not know SQL, configuration files or flags.
package issuer
