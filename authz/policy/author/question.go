package author

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/ast"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/input"
	"github.com/tegata/tegata/authz/policy/reads"
)

// Question is one made-up request, and the policies that are to decide it.
type Question struct {
	Dir   string // of policies and data
	Entry string // rule that decides; empty: authz's default

	Request string   // "GET /orders", also with a whole URL; or see Input
	Headers []string // "name: value"
	Body    string

	// Input is an input document in JSON, as in a decision log, instead of
	// Request, Headers and Body. Its token's claims count if none are given;
	// its token, route and revocation are made anew.
	Input []byte

	// Claims is a JSON object: the claims of the token. What every token must
	// have is added. nil: see Scopes.
	Claims []byte
	// Scopes are those of a token that says nothing else; nil, and no Claims:
	// the request has the token that is in its Authorization header, or none.
	Scopes []string

	ScopeClaim string           // of the token, default "scope"
	Now        func() time.Time // default time.Now
}

// ErrQuestion is wrapped by errors about a Question that makes no sense.
var ErrQuestion = errors.New("cannot ask that")

func badQuestion(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrQuestion, fmt.Errorf(format, args...))
}

// asked is a Question in the form that a door would have given it.
type asked struct {
	method, path, host string
	authorization      []string
	members            func() ([][2]*ast.Term, error)
	bearer             bool // whether there is a token, or what claims to be one
}

// ask takes the question apart.
func (q Question) ask() (asked, error) {
	if (q.Request == "") == (q.Input == nil) {
		return asked{}, badQuestion("give one of a request and an input document")
	}
	if q.Claims != nil && q.Scopes != nil {
		return asked{}, badQuestion("give one of claims and scopes")
	}
	if q.Input != nil {
		return q.askDocument()
	}
	return q.askRequest()
}

// askRequest makes the message that Envoy would send.
func (q Question) askRequest() (asked, error) {
	message, err := q.message()
	if err != nil {
		return asked{}, err
	}
	http := message.Attributes.Request.Http
	token, err := q.token(nil)
	if err != nil {
		return asked{}, err
	}
	a := asked{method: http.Method, path: http.Path, host: http.Host}
	given, there := http.Headers["authorization"]
	switch {
	case token != "" && there:
		return asked{}, badQuestion("give one of an authorization header and a token's claims or scopes")
	case token != "":
		http.Headers["authorization"] = "Bearer " + token
	case there:
		token = given
	}
	if token != "" {
		a.bearer, a.authorization = true, []string{http.Headers["authorization"]}
	}
	a.members = func() ([][2]*ast.Term, error) { return input.Members(message) }
	return a, nil
}

func (q Question) message() (*authv3.CheckRequest, error) {
	method, target, ok := strings.Cut(strings.TrimSpace(q.Request), " ")
	if target = strings.TrimSpace(target); !ok || target == "" || strings.Contains(target, " ") {
		return nil, badQuestion("request %q: want a method and a path, such as GET /orders", q.Request)
	}
	http := &authv3.AttributeContext_HttpRequest{
		Method: method, Path: target, Host: "localhost", Scheme: "http", Protocol: "HTTP/1.1",
		Body: q.Body, Size: int64(len(q.Body)), Headers: map[string]string{},
	}
	if !strings.HasPrefix(target, "/") {
		u, err := url.Parse(target)
		if err != nil || u.Host == "" {
			return nil, badQuestion("request %q: want a path that starts with /, or a URL", q.Request)
		}
		http.Scheme, http.Host, http.Path = u.Scheme, u.Host, u.RequestURI()
	}
	for _, header := range q.Headers {
		name, value, ok := strings.Cut(header, ":")
		name, value = strings.ToLower(name), textproto.TrimString(value)
		switch had, again := http.Headers[name]; {
		case !ok || name == "" || strings.ContainsAny(name, " \t"):
			return nil, badQuestion("header %q: want name: value", header)
		case name == "host":
			http.Host = value
		case again: // as Envoy joins them
			http.Headers[name] = had + "," + value
		default:
			http.Headers[name] = value
		}
	}
	for name, value := range map[string]string{":method": method, ":path": http.Path, ":authority": http.Host, ":scheme": http.Scheme} {
		http.Headers[name] = value
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Time: timestamppb.New(q.now()), Http: http},
	}}, nil
}

func (q Question) now() time.Time {
	if q.Now == nil {
		return time.Now()
	}
	return q.Now()
}

// askDocument takes the door's part of an input document.
func (q Question) askDocument() (asked, error) {
	if q.Headers != nil || q.Body != "" {
		return asked{}, badQuestion("headers and body are part of the input document")
	}
	value, err := ast.ValueFromReader(strings.NewReader(string(q.Input)))
	if err != nil {
		return asked{}, badQuestion("input document: %w", err)
	}
	document, ok := value.(ast.Object)
	if !ok {
		return asked{}, badQuestion("input document: %s, want an object", ast.ValueName(value))
	}
	text := func(path ...string) string {
		v, _ := document.Find(reads.Path(path).Ref())
		s, _ := v.(ast.String)
		return string(s)
	}
	http := func(path ...string) string {
		return text(append([]string{"attributes", "request", "http"}, path...)...)
	}
	a := asked{method: http("method"), path: http("path"), host: http("host")}
	token, err := q.token(document)
	if err != nil {
		return asked{}, err
	}
	a.authorization = []string{"Bearer " + token}
	if token == "" {
		a.authorization = []string{http("headers", "authorization")}
	}
	if a.bearer = a.authorization[0] != ""; !a.bearer {
		a.authorization = nil
	}
	members := doorMembers(document)
	a.members = func() ([][2]*ast.Term, error) { return members[:len(members):len(members)], nil }
	return a, nil
}

// doorMembers is a document without what check adds.
func doorMembers(document ast.Object) (members [][2]*ast.Term) {
	document.Foreach(func(key, value *ast.Term) {
		switch key.Value {
		case ast.String("token"), ast.String("route"), ast.String("revocation"):
		default:
			members = append(members, [2]*ast.Term{key, value})
		}
	})
	return members
}

// token makes an unsigned compact token; empty if the question has none.
func (q Question) token(document ast.Object) (string, error) {
	claims := map[string]any{}
	switch {
	case q.Claims != nil:
		if err := json.Unmarshal(q.Claims, &claims); err != nil {
			return "", badQuestion("claims: %w", err)
		}
	case q.Scopes != nil:
		claims[q.scopeClaim()] = strings.Join(q.Scopes, " ")
	case document == nil:
		return "", nil
	default:
		value, err := document.Find(reads.Path{"token", "claims"}.Ref())
		if err != nil {
			return "", nil
		}
		plain, err := ast.JSON(value)
		if err != nil {
			return "", badQuestion("claims of the input document: %w", err)
		}
		var ok bool
		if claims, ok = plain.(map[string]any); !ok {
			return "", badQuestion("claims of the input document are no object")
		}
	}
	if claims == nil { // the JSON was null
		return "", badQuestion("claims: null, want an object")
	}
	return unsigned(q.completed(claims))
}

func (q Question) scopeClaim() string {
	if q.ScopeClaim == "" {
		return "scope"
	}
	return q.ScopeClaim
}

// completed adds the claims without which no token is accepted.
func (q Question) completed(claims map[string]any) map[string]any {
	now := q.now()
	for name, value := range map[string]any{
		"iss": "https://issuer.example", "sub": "someone", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	} {
		if _, there := claims[name]; !there {
			claims[name] = value
		}
	}
	return claims
}

// unsigned is a JWT of these claims that nobody signed.
func unsigned(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + encode(payload) + "." + encode([]byte("unsigned")), nil
}

// request is the question in check's words.
func (a asked) request() (check.Request, error) {
	members, err := a.members()
	if err != nil {
		return check.Request{}, badQuestion("%w", err)
	}
	document := ast.NewObject(members...)
	return check.Request{
		Method: a.method, Path: a.path, Host: a.host, Authorization: a.authorization,
		Input: func([]reads.Path) ([][2]*ast.Term, error) { return a.members() },
		Key: func(dst []byte, path reads.Path) ([]byte, bool) {
			v, err := document.Find(path.Ref())
			if err != nil {
				return reads.AppendUndefined(dst), true
			}
			return reads.AppendValue(dst, v)
		},
	}, nil
}
