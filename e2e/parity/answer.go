package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// answer is what can be compared of an answer: names such as "status",
// "header Location code", "body error", "body access_token claims aud". What
// differs from one run to the next is replaced by what it is: {time}, {id}.
type answer map[string]string

// headers that clients depend on.
var headers = []string{
	"Allow", "Cache-Control", "Content-Type", "Location", "Pragma", "WWW-Authenticate",
	"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods",
}

func normal(base string, resp *http.Response, body []byte) answer {
	a := answer{"status": strconv.Itoa(resp.StatusCode)}
	for _, name := range headers {
		value := resp.Header.Get(name)
		switch {
		case value == "":
		case name == "Content-Type":
			a["header "+name], _, _ = mime.ParseMediaType(value)
		case name == "Location":
			a.location(base, value)
		default:
			a["header "+name] = plain(base, "", value)
		}
	}
	var members any
	switch err := json.Unmarshal(body, &members); {
	case len(body) == 0:
	case err == nil:
		a.add(base, "body", members)
	case strings.HasPrefix(a["header Content-Type"], "text/html"):
		a["body"] = "{page}"
	default:
		a["body"] = plain(base, "", string(body))
	}
	return a
}

func (a answer) location(base, value string) {
	u, err := url.Parse(value)
	if err != nil {
		a["header Location"] = value
		return
	}
	for name, values := range u.Query() {
		a.add(base, "header Location "+name, values[0])
	}
	if sent, err := url.ParseQuery(u.Fragment); err == nil {
		for name, values := range sent {
			a.add(base, "header Location # "+name, values[0])
		}
	}
	u.RawQuery, u.Fragment = "", ""
	a["header Location"] = plain(base, "", u.String())
}

// add flattens JSON; a JWT is a header and claims.
func (a answer) add(base, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for member, value := range v {
			a.add(base, name+" "+member, value)
		}
	case []any:
		texts := make([]string, 0, len(v))
		for _, e := range v {
			b, _ := json.Marshal(e) // came from JSON
			texts = append(texts, plain(base, "", string(b)))
		}
		slices.Sort(texts)
		a[name] = "[" + strings.Join(texts, ",") + "]"
	case string:
		if header, claims, ok := jwt(v); ok {
			a.add(base, name+" header", header)
			a.add(base, name+" claims", claims)
			return
		}
		a[name] = plain(base, last(name), v)
	default:
		b, _ := json.Marshal(v)
		a[name] = plain(base, last(name), string(b))
	}
}

func jwt(s string) (header, claims any, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return nil, nil, false
	}
	for i, to := range []*any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(b, to) != nil {
			return nil, nil, false
		}
	}
	return header, claims, true
}

func last(name string) string { return name[strings.LastIndexByte(name, ' ')+1:] }

// volatile is what a member is, whatever its value.
var volatile = map[string]string{
	"exp": "{time}", "iat": "{time}", "auth_time": "{time}", "sid": "{id}", "session_state": "{id}", "code": "{code}", "device_code": "{code}", "user_code": "{code}",
	"kid": "{id}", "public_key": "{key}", "rev": "{revision}", "request_uri": "{id}", "at_hash": "{hash}", "sub": "{id}", "reuse_id": "{id}", "aud_x": "{id}", "refresh_token": "{token}",
}

var userCode = regexp.MustCompile(`user_code=[A-Z-]+`)

var uuid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

func plain(base, member, value string) string {
	if is, ok := volatile[member]; ok {
		return is
	}
	if member == "scope" { // a set, in whatever order (RFC 6749 §3.3)
		scopes := strings.Fields(value)
		slices.Sort(scopes)
		return strings.Join(scopes, " ")
	}
	if n, err := strconv.Atoi(value); err == nil && strings.HasSuffix(member, "expires_in") {
		return strconv.Itoa((n + 9) / 10 * 10) // a second may have passed
	}
	value = userCode.ReplaceAllString(strings.ReplaceAll(value, base, "{base}"), "user_code={code}")
	return uuid.ReplaceAllString(value, "{uuid}")
}

// String is the recorded form, which read reads back.
func (a answer) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(a)) {
		fmt.Fprintf(&b, "< %s: %s\n", name, a[name])
	}
	return b.String()
}

// record is the recorded form of answers.
func record(all []exchange, answers map[string]answer) string {
	var b strings.Builder
	for _, e := range all {
		if a, ok := answers[e.name]; ok {
			fmt.Fprintf(&b, "### %s\n%s\n", e.name, a)
		}
	}
	return b.String()
}

// read reads what record wrote.
func read(text string) map[string]answer {
	answers := make(map[string]answer)
	for _, e := range parse(text) {
		a := make(answer)
		for _, line := range e.lines {
			name, value, _ := strings.Cut(strings.TrimPrefix(line, "< "), ": ")
			a[name] = value
		}
		answers[e.name] = a
	}
	return answers
}
