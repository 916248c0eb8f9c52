// Package revocationpb is the wire contract of tegata.revocation.v1:
// revocation.proto and the Go code generated from it by generate.sh. It knows
// nothing of ours; the comments in the .proto file are the contract.
package revocationpb

//go:generate sh generate.sh
