package extauthz

import (
	"encoding/json"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tegata/tegata/authz/check"
)

// Dynamic metadata is a google.protobuf.Struct. It is encoded here and not from
// structpb's messages, which would be made, and ordered, for every new token:
// BenchmarkReply.

// Field numbers of Struct, Value and ListValue.
const (
	structFields = 1
	valueNumber  = 2
	valueString  = 3
	valueBool    = 4
	valueList    = 6
	listValues   = 1
)

// What we say in metadata, which a policy cannot say in our place.
const (
	metadataReason         = "reason"
	metadataPolicy         = "policy"
	metadataShadow         = "shadow"
	metadataRoute          = "route"
	metadataPolicyRevision = "policy_revision"
	metadataIssuer         = "issuer"
	metadataSubject        = "subject"
	metadataClient         = "client"
	metadataScopes         = "scopes"
	metadataRevision       = "revocation_revision"
)

// What extproc reads of it, in the namespace under which Envoy keeps it.
const (
	Namespace     = "envoy.filters.http.ext_authz"
	MetadataID    = "decision_id"
	MetadataToken = "token" // a verify.Identity, see Config.Identify; empty if there was no token
)

func isOurs(name string) bool {
	switch name {
	case metadataReason, metadataPolicy, metadataShadow, metadataRoute, metadataPolicyRevision,
		metadataIssuer, metadataSubject, metadataClient, metadataScopes, metadataRevision, MetadataID, MetadataToken:
		return true
	}
	return false
}

// appendFixed appends the entries that later filters and access logs may use:
// the policy's own, then ours. Never the token. What differs from one request
// to the next is appendMetadata's. Of what has no encoding nothing is said.
func appendFixed(b []byte, d *check.Decision, identify bool) []byte {
	for name, value := range d.Result.DynamicMetadata {
		if isOurs(name) || !utf8.ValidString(name) {
			continue
		}
		v, err := structpb.NewValue(plain(value))
		if err != nil {
			continue
		}
		if encoded, err := proto.Marshal(v); err == nil {
			b = appendEntry(b, name, encoded)
		}
	}
	b = appendText(b, metadataReason, string(d.Reason))
	b = appendText(b, metadataPolicy, d.Policy)
	if d.Shadowed {
		value := protowire.AppendTag(nil, valueBool, protowire.VarintType)
		b = appendEntry(b, metadataShadow, protowire.AppendVarint(value, 1))
	}
	b = appendText(b, metadataRoute, d.Route)
	b = appendText(b, metadataPolicyRevision, d.PolicyRevision)
	if identify {
		text := ""
		if d.Token != nil && !d.Shadow { // what only shadows ends nothing
			text = d.Token.Identity().String()
		}
		b = appendEntry(b, MetadataToken, appendString(nil, text))
	}
	if d.Token == nil {
		return b
	}
	b = appendText(b, metadataIssuer, d.Token.Revocation.Issuer)
	b = appendText(b, metadataSubject, d.Token.Revocation.Subject)
	b = appendText(b, metadataClient, d.Token.Revocation.Client)
	return appendTexts(b, metadataScopes, d.Token.Scopes)
}

// appendMetadata appends the entries that name this decision.
func appendMetadata(b []byte, d *check.Decision) []byte {
	b = appendText(b, MetadataID, d.ID)
	value := protowire.AppendTag(make([]byte, 0, 16), valueNumber, protowire.Fixed64Type)
	return appendEntry(b, metadataRevision, protowire.AppendFixed64(value, math.Float64bits(float64(d.RevocationRevision))))
}

// appendText appends an entry, if there is something to say.
func appendText(b []byte, name, text string) []byte {
	if text == "" || !utf8.ValidString(text) {
		return b
	}
	return appendEntry(b, name, appendString(make([]byte, 0, 128), text))
}

func appendTexts(b []byte, name string, texts []string) []byte {
	list := make([]byte, 0, 256)
	for _, text := range texts {
		if utf8.ValidString(text) {
			list = appendBytes(list, listValues, appendString(nil, text))
		}
	}
	return appendEntry(b, name, appendBytes(make([]byte, 0, len(list)+8), valueList, list))
}

// appendString appends the members of a Value that is a string.
func appendString(b []byte, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, valueString, protowire.BytesType), text)
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func appendEntry(b []byte, key string, value []byte) []byte {
	size := protowire.SizeTag(entryKey) + protowire.SizeBytes(len(key)) + protowire.SizeTag(entryValue) + protowire.SizeBytes(len(value))
	b = protowire.AppendTag(b, structFields, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = protowire.AppendTag(b, entryKey, protowire.BytesType)
	b = protowire.AppendString(b, key)
	return appendBytes(b, entryValue, value)
}

// plain turns the numbers of a policy's JSON into those that structpb takes.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	}
	return v
}
