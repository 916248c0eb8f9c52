package issuer_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A transcript is a conversation with the issuer, read from testdata:
//
//	### name of the exchange, and the source of what it expects
//	! login CLIENT USER SCOPE -> NAME     log in with a new browser, keep the code as $NAME
//	! advance DURATION                    move the clock
//	> METHOD /path                        {oidc} is /realms/demo/protocol/openid-connect
//	> Header: value                       "Basic id:secret" is encoded
//	= body                                a form; values may be $NAME
//	< status
//	< Header: value                       "-" for absent, "*" for any
//	< {"member":"value"}                  exactly these members; "*" any, "$NAME" keep or compare
//	< {"…":"", "member":"value"}          these and perhaps others
//	< (empty)
//	< ~ text that the body contains
type transcript struct {
	*server
	vars map[string]string
}

// exchange is one "###" block.
type exchange struct {
	name  string
	lines []string
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tr := &transcript{server: start(t), vars: make(map[string]string)}
			for _, e := range split(string(data)) {
				tr.run(t, e)
			}
		})
	}
}

func split(text string) []exchange {
	var all []exchange
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		name, isName := strings.CutPrefix(line, "### ")
		switch {
		case isName:
			all = append(all, exchange{name: name})
		case line != "" && !strings.HasPrefix(line, "//"):
			e := &all[len(all)-1]
			e.lines = append(e.lines, line)
		}
	}
	return all
}

func (tr *transcript) run(t *testing.T, e exchange) {
	t.Helper()
	var req *http.Request
	var resp *http.Response
	var body string
	for _, line := range e.lines {
		mark, rest, _ := strings.Cut(line, " ")
		rest = strings.ReplaceAll(rest, "{oidc}", "/realms/demo/protocol/openid-connect")
		switch mark {
		case "!":
			tr.direct(t, strings.Fields(rest))
		case ">":
			req = tr.addLine(t, req, tr.expand(rest))
		case "=":
			req.Body = io.NopCloser(strings.NewReader(tr.expand(rest)))
			if req.Header.Get("Content-Type") == "" {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		case "<":
			if resp == nil {
				resp, body = tr.send(t, req)
			}
			if problem := tr.expect(resp, body, rest); problem != "" {
				t.Errorf("### %s\n%s\n%s\ngot %d %v\n%s", e.name, line, problem, resp.StatusCode, resp.Header, body)
			}
		default:
			t.Fatalf("### %s: what is %q?", e.name, line)
		}
	}
}

func (tr *transcript) direct(t *testing.T, words []string) {
	t.Helper()
	switch words[0] {
	case "login":
		code := newBrowser(t, tr.server).login(words[1], words[2], strings.Join(words[3:len(words)-2], " "))
		tr.vars[words[len(words)-1]] = code
	case "advance":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		tr.clock.Add(int64(d))
	default:
		t.Fatalf("what is %q?", words[0])
	}
}

func (tr *transcript) addLine(t *testing.T, req *http.Request, line string) *http.Request {
	t.Helper()
	if req == nil {
		method, path, _ := strings.Cut(line, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, tr.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	name, value, _ := strings.Cut(line, ": ")
	if pair, ok := strings.CutPrefix(value, "Basic "); ok && name == "Authorization" {
		id, secret, _ := strings.Cut(pair, ":")
		req.SetBasicAuth(id, secret)
		return req
	}
	req.Header.Set(name, value)
	return req
}

func (tr *transcript) send(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

var variable = regexp.MustCompile(`\$[A-Z][A-Z0-9]*`)

// expand replaces $NAME, escaped for a form.
func (tr *transcript) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(name string) string {
		if v, ok := tr.vars[name[1:]]; ok {
			return url.QueryEscape(v)
		}
		return name
	})
}

// expect returns what is wrong with the answer, or nothing.
func (tr *transcript) expect(resp *http.Response, body, want string) string {
	if status, err := strconv.Atoi(want); err == nil {
		if resp.StatusCode != status {
			return fmt.Sprintf("status %d, want %d", resp.StatusCode, status)
		}
		return ""
	}
	if text, ok := strings.CutPrefix(want, "~ "); ok {
		if !strings.Contains(body, text) {
			return "body does not contain the text"
		}
		return ""
	}
	switch {
	case want == "(empty)":
		if body != "" {
			return "body is not empty"
		}
		return ""
	case strings.HasPrefix(want, "{"):
		return tr.expectJSON(body, want)
	}
	name, value, _ := strings.Cut(want, ": ")
	got, there := strings.Join(resp.Header.Values(name), ", "), len(resp.Header.Values(name)) > 0
	switch {
	case value == "-" && !there, value == "*" && there, there && got == tr.expand(value):
		return ""
	}
	return fmt.Sprintf("header %s is %q", name, got)
}

func (tr *transcript) expectJSON(body, want string) string {
	var got, expected map[string]any
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		return "transcript: " + err.Error()
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		return "answer: " + err.Error()
	}
	_, open := expected["…"]
	delete(expected, "…")
	for name := range got {
		if _, ok := expected[name]; !ok && !open {
			return fmt.Sprintf("unexpected member %q", name)
		}
	}
	for name, w := range expected {
		g, ok := got[name]
		if !ok {
			return fmt.Sprintf("member %q is missing", name)
		}
		if !tr.matches(g, w) && !(strings.HasSuffix(name, "expires_in") && secondLess(g, w)) {
			return fmt.Sprintf("member %q is %v, want %v", name, g, w)
		}
	}
	return ""
}

// secondLess reports whether a second has passed between the session's clock
// and the token's.
func secondLess(got, want any) bool {
	g, isNumber := got.(float64)
	w, wantsNumber := want.(float64)
	return isNumber && wantsNumber && w > 0 && g == w-1
}

func (tr *transcript) matches(got, want any) bool {
	text, isText := want.(string)
	switch {
	case isText && text == "*":
		return got != nil && got != ""
	case isText && variable.MatchString(text) && text[0] == '$':
		value := fmt.Sprint(got)
		if known, ok := tr.vars[text[1:]]; ok {
			return known == value
		}
		tr.vars[text[1:]] = value
		return true
	}
	return reflect.DeepEqual(got, want)
}
