package jose

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays may nest.
const maxDepth = 16

// scanner reads one JSON text (RFC 8259), strictly. encoding/json would keep
// the last of two equal members and mend broken UTF-8; two parties that mend
// differently read two different tokens.
//
// What it makes shares the text's memory.
type scanner struct {
	data   string
	pos    int
	build  bool            // make values; otherwise only validate
	wanted map[string]bool // of the outermost object's members; nil: all
	shape  Shape
}

// Shape counts what a JSON text is made of, at every depth.
type Shape struct {
	Values  int // objects and arrays among them
	Objects int
	Members int // of all objects
}

// document reads the outermost object and everything up to the end. each, if
// not nil, is called with every member of it.
func (s *scanner) document(each func(member)) (any, error) {
	s.space()
	if s.peek() != '{' {
		return nil, malformed("not a JSON object")
	}
	s.shape.Values++
	v, err := s.object(1, each)
	if err != nil {
		return nil, err
	}
	if s.space(); s.pos != len(s.data) {
		return nil, malformed("data after the JSON object")
	}
	return v, nil
}

func (s *scanner) value(depth int) (any, error) {
	s.shape.Values++
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth+1, nil)
	case c == '[':
		return s.array(depth + 1)
	case c == '"':
		text, err := s.string()
		if err != nil || !s.build {
			return nil, err
		}
		return text, nil
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case s.literal("true"):
		return true, nil
	case s.literal("false"):
		return false, nil
	case s.literal("null"):
		return nil, nil
	default:
		return nil, malformed("JSON value")
	}
}

func (s *scanner) object(depth int, each func(member)) (any, error) {
	if depth > maxDepth {
		return nil, malformed("JSON nested too deeply")
	}
	s.pos++ // {
	s.shape.Objects++
	var names nameSet
	var out map[string]any
	build := s.build
	if build && depth == 1 {
		out = make(map[string]any, len(s.wanted))
	} else if build {
		out = make(map[string]any)
	}
	if s.space(); s.take('}') {
		return out, nil
	}
	for {
		s.space()
		name, err := s.name()
		if err != nil {
			return nil, err
		}
		if !names.add(name) {
			return nil, malformed("repeated JSON member")
		}
		s.shape.Members++
		s.build = build && (depth > 1 || s.wanted == nil || s.wanted[name])
		start := s.pos
		v, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		if each != nil {
			each(member{name, s.data[start:s.pos]})
		}
		if s.build {
			out[name] = v
		}
		s.build = build
		s.space()
		if s.take(',') {
			continue
		}
		if s.take('}') {
			return out, nil
		}
		return nil, malformed("JSON object")
	}
}

// name reads `"name" :` and the white space after it.
func (s *scanner) name() (string, error) {
	if s.peek() != '"' {
		return "", malformed("JSON member name")
	}
	name, err := s.string()
	if err != nil {
		return "", err
	}
	if s.space(); !s.take(':') {
		return "", malformed("JSON colon")
	}
	s.space()
	return name, nil
}

func (s *scanner) array(depth int) (any, error) {
	if depth > maxDepth {
		return nil, malformed("JSON nested too deeply")
	}
	s.pos++ // [
	out := []any{}
	if s.space(); s.take(']') {
		return out, nil
	}
	for {
		s.space()
		v, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		if s.build {
			out = append(out, v)
		}
		s.space()
		if s.take(',') {
			continue
		}
		if s.take(']') {
			return out, nil
		}
		return nil, malformed("JSON array")
	}
}

func (s *scanner) string() (string, error) {
	s.pos++ // "
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start : s.pos-1], nil
		case c == '\\':
			return s.escaped(start)
		default:
			if err := s.char(); err != nil {
				return "", err
			}
		}
	}
	return "", malformed("JSON string without end")
}

// escaped goes on with a string from its first escape; start is where it began.
func (s *scanner) escaped(start int) (string, error) {
	text := append([]byte(nil), s.data[start:s.pos]...)
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case '"':
			s.pos++
			return string(text), nil
		case '\\':
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			text = utf8.AppendRune(text, r)
		default:
			from := s.pos
			if err := s.char(); err != nil {
				return "", err
			}
			text = append(text, s.data[from:s.pos]...)
		}
	}
	return "", malformed("JSON string without end")
}

// char steps over one unescaped character of a string.
func (s *scanner) char() error {
	c := s.data[s.pos]
	if c < 0x20 {
		return malformed("control character in JSON string")
	}
	if c < utf8.RuneSelf {
		s.pos++
		return nil
	}
	r, n := utf8.DecodeRuneInString(s.data[s.pos:])
	if r == utf8.RuneError && n == 1 {
		return malformed("invalid UTF-8")
	}
	s.pos += n
	return nil
}

func (s *scanner) escape() (rune, error) {
	if s.pos+1 >= len(s.data) {
		return 0, malformed("JSON escape")
	}
	c := s.data[s.pos+1]
	if c == 'u' {
		return s.unicodeEscape()
	}
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	i := strings.IndexByte(from, c)
	if i < 0 {
		return 0, malformed("JSON escape")
	}
	s.pos += 2
	return rune(to[i]), nil
}

// unicodeEscape reads \uXXXX or a surrogate pair of them. Half a pair is no
// character; encoding/json would put U+FFFD in its place.
func (s *scanner) unicodeEscape() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	low, err := s.hex4()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, malformed("half a surrogate pair")
	}
	return r, nil
}

func (s *scanner) hex4() (rune, error) {
	if s.pos+6 > len(s.data) || s.data[s.pos] != '\\' || s.data[s.pos+1] != 'u' {
		return 0, malformed("JSON escape")
	}
	for _, c := range []byte(s.data[s.pos+2 : s.pos+6]) {
		if !isHex(c) {
			return 0, malformed("JSON escape")
		}
	}
	n, err := strconv.ParseUint(s.data[s.pos+2:s.pos+6], 16, 16)
	if err != nil {
		return 0, malformed("JSON escape")
	}
	s.pos += 6
	return rune(n), nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// number reads -? int frac? exp? (RFC 8259 §6).
func (s *scanner) number() (any, error) {
	start := s.pos
	s.take('-')
	if !s.take('0') && s.digits() == 0 {
		return nil, malformed("JSON number")
	}
	if s.take('.') && s.digits() == 0 {
		return nil, malformed("JSON number")
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if s.digits() == 0 {
			return nil, malformed("JSON number")
		}
	}
	if !s.build {
		return nil, nil
	}
	return json.Number(s.data[start:s.pos]), nil
}

func (s *scanner) digits() int {
	start := s.pos
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos - start
}

// peek is the next byte, or 0 at the end; 0 is not part of any token.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) literal(word string) bool {
	if strings.HasPrefix(s.data[s.pos:], word) {
		s.pos += len(word)
		return true
	}
	return false
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// nameSet holds the names of one object: a short list, then a map, so that
// neither small objects pay for a map nor large ones for comparisons.
type nameSet struct {
	few  [24]string
	n    int
	many map[string]bool
}

// add reports whether name is new.
func (s *nameSet) add(name string) bool {
	if s.many != nil {
		if s.many[name] {
			return false
		}
		s.many[name] = true
		return true
	}
	for _, have := range s.few[:s.n] {
		if have == name {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return true
	}
	s.many = make(map[string]bool, 4*len(s.few))
	for _, have := range s.few {
		s.many[have] = true
	}
	s.many[name] = true
	return true
}
