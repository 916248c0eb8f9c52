package extauthz

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// scanned is what a decision that is already known needs of a CheckRequest:
// read straight from its bytes, a tenth of the cost of decoding them. All
// strings share the one copy of the message.
type scanned struct {
	method, path, host, scheme, protocol string
	headers                              []header
}

type header struct{ name, value string }

// header returns the value of the header of that (lower-case) name.
func (s *scanned) header(name string) (value string, ok bool) {
	for _, h := range s.headers {
		if h.name == name {
			return h.value, true
		}
	}
	return "", false
}

// Field numbers of envoy.service.auth.v3, as its .proto files give them.
const (
	checkAttributes protowire.Number = 1

	attributesRequest protowire.Number = 4

	requestHTTP protowire.Number = 2

	httpMethod    protowire.Number = 2
	httpHeaders   protowire.Number = 3
	httpPath      protowire.Number = 4
	httpHost      protowire.Number = 5
	httpScheme    protowire.Number = 6
	httpProtocol  protowire.Number = 10
	httpHeaderMap protowire.Number = 13

	entryKey   protowire.Number = 1
	entryValue protowire.Number = 2
)

// scan reads message. ok is false for everything that a careful reader of
// these few fields could understand otherwise than the full decoder does:
// then decode in full. Such are a field of another wire type, a field or
// sub-message given twice (the decoder merges), a header given twice, text
// that is not UTF-8, and header_map, which replaces headers.
func scan(message string) (s scanned, ok bool) {
	attributes, ok := only(message, checkAttributes)
	if !ok {
		return scanned{}, false
	}
	request, ok := only(attributes, attributesRequest)
	if !ok {
		return scanned{}, false
	}
	http, ok := only(request, requestHTTP)
	if !ok || !s.http(http) {
		return scanned{}, false
	}
	return s, true
}

// field is one field of a message. Its value is set for length-delimited
// fields only.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  string
}

// next cuts the first field off message.
func next(message string) (f field, rest string, ok bool) {
	b := message
	tag, n := uvarint(b)
	if n <= 0 {
		return field{}, "", false
	}
	f.number, f.kind = protowire.DecodeTag(tag)
	if f.number < protowire.MinValidNumber {
		return field{}, "", false
	}
	b = b[n:]
	switch f.kind {
	case protowire.BytesType:
		size, n := uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return field{}, "", false
		}
		f.value, b = b[n:n+int(size)], b[n+int(size):]
	case protowire.VarintType:
		if _, n = uvarint(b); n <= 0 {
			return field{}, "", false
		}
		b = b[n:]
	default: // nothing in these messages has another type
		return field{}, "", false
	}
	return f, b, true
}

// uvarint is binary.Uvarint over a string, of at most five bytes: all that
// tags and lengths here can need.
func uvarint(b string) (v uint64, n int) {
	for i := 0; i < len(b) && i < 5; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// only returns the sub-message that is field number of message, if it is
// there exactly once.
func only(message string, number protowire.Number) (sub string, ok bool) {
	for len(message) > 0 {
		f, rest, valid := next(message)
		if !valid {
			return "", false
		}
		if f.number == number {
			if ok || f.kind != protowire.BytesType {
				return "", false
			}
			sub, ok = f.value, true
		}
		message = rest
	}
	return sub, ok
}

func (s *scanned) http(message string) bool {
	s.headers = make([]header, 0, 24)
	for len(message) > 0 {
		f, rest, ok := next(message)
		if !ok {
			return false
		}
		message = rest
		var text *string
		switch f.number {
		case httpMethod:
			text = &s.method
		case httpPath:
			text = &s.path
		case httpHost:
			text = &s.host
		case httpScheme:
			text = &s.scheme
		case httpProtocol:
			text = &s.protocol
		case httpHeaders:
			if f.kind != protowire.BytesType || !s.addHeader(f.value) {
				return false
			}
			continue
		case httpHeaderMap:
			return false
		default:
			continue
		}
		if f.kind != protowire.BytesType || *text != "" || !utf8.ValidString(f.value) {
			return false
		}
		*text = f.value
	}
	return true
}

// addHeader reads one map entry: key and value, each at most once.
func (s *scanned) addHeader(entry string) bool {
	var h header
	for len(entry) > 0 {
		f, rest, ok := next(entry)
		if !ok || f.kind != protowire.BytesType || !utf8.ValidString(f.value) {
			return false
		}
		entry = rest
		switch {
		case f.number == entryKey && h.name == "":
			h.name = f.value
		case f.number == entryValue && h.value == "":
			h.value = f.value
		default:
			return false
		}
	}
	if _, twice := s.header(h.name); twice || h.name == "" || h.name != strings.ToLower(h.name) {
		return false
	}
	s.headers = append(s.headers, h)
	return true
}
