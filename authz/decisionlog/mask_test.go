package decisionlog

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"
)

// parts are the members of a logged event that masks can change.
type parts struct {
	Input  any      `json:"input,omitempty"`
	Result any      `json:"result,omitempty"`
	Erased []string `json:"erased,omitempty"`
	Masked []string `json:"masked,omitempty"`
}

func partsOf(t testing.TB, line string) string {
	t.Helper()
	var p parts
	if err := json.Unmarshal([]byte(line), &p); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// maskTests hold masks in the form in which a policy answers them. Each row
// but those marked ours was run through OPA 1.22.2 with the same outcome.
var maskTests = []struct {
	name, masks, input, result string
	want                       string
	ours                       string // what differs from OPA, and why
}{
	{name: "none", masks: `[]`, input: `{"a":1}`, result: `true`, want: `{"input":{"a":1},"result":true}`},
	{name: "remove", masks: `["/input/a"]`, input: `{"a":1,"b":2}`, want: `{"input":{"b":2},"erased":["/input/a"]}`},
	{name: "remove as an object", masks: `[{"op":"remove","path":"/input/a"}]`, input: `{"a":1}`, want: `{"input":{},"erased":["/input/a"]}`},
	{name: "remove below", masks: `["/input/a/b/c"]`, input: `{"a":{"b":{"c":1,"d":2}}}`, want: `{"input":{"a":{"b":{"d":2}}},"erased":["/input/a/b/c"]}`},
	{name: "remove what is not there", masks: `["/input/x","/input/a/x","/input/a/b/c"]`, input: `{"a":1}`, want: `{"input":{"a":1}}`},
	{name: "remove the input", masks: `["/input"]`, input: `{"a":1}`, result: `true`, want: `{"result":true,"erased":["/input"]}`},
	{name: "remove the result", masks: `["/result"]`, input: `{"a":1}`, result: `true`, want: `{"input":{"a":1},"erased":["/result"]}`},
	{name: "remove of the result", masks: `["/result/body"]`, result: `{"body":"x","allowed":true}`, want: `{"result":{"allowed":true},"erased":["/result/body"]}`},
	{name: "remove where there is no input", masks: `["/input/a","/input"]`, result: `true`, want: `{"result":true}`},
	{name: "remove of a list", masks: `["/input/a/1"]`, input: `{"a":[1,2,3]}`, want: `{"input":{"a":[1,3]},"erased":["/input/a/1"]}`},
	{name: "remove in a list", masks: `["/input/a/0/b"]`, input: `{"a":[{"b":1,"c":2}]}`, want: `{"input":{"a":[{"c":2}]},"erased":["/input/a/0/b"]}`},
	{name: "remove of lists in lists", masks: `["/input/a/0/1"]`, input: `{"a":[[1,2]]}`, want: `{"input":{"a":[[1]]},"erased":["/input/a/0/1"]}`},
	{name: "remove of a list at the root", masks: `["/input/0"]`, input: `[1,2]`, want: `{"input":[2],"erased":["/input/0"]}`},
	{name: "remove beyond a list", masks: `["/input/a/3","/input/a/-1","/input/a/x"]`, input: `{"a":[1]}`, want: `{"input":{"a":[1]}}`},
	{name: "remove twice", masks: `["/input/a","/input/a"]`, input: `{"a":1}`, want: `{"input":{},"erased":["/input/a"]}`},
	{name: "upsert", masks: `[{"op":"upsert","path":"/input/a","value":"**"}]`, input: `{"a":1}`, want: `{"input":{"a":"**"},"masked":["/input/a"]}`},
	{name: "upsert a new name", masks: `[{"op":"upsert","path":"/input/b/c","value":{"d":1}}]`, input: `{"a":1}`, want: `{"input":{"a":1,"b":{"c":{"d":1}}},"masked":["/input/b/c"]}`},
	{name: "upsert null", masks: `[{"op":"upsert","path":"/input/a"}]`, input: `{"a":1}`, want: `{"input":{"a":null},"masked":["/input/a"]}`},
	{name: "upsert through a scalar", masks: `[{"op":"upsert","path":"/input/a/b","value":1}]`, input: `{"a":1}`, want: `{"input":{"a":1}}`},
	{name: "upsert in a list", masks: `[{"op":"upsert","path":"/input/a/0","value":9}]`, input: `{"a":[1,2]}`, want: `{"input":{"a":[9,2]},"masked":["/input/a/0"]}`},
	{name: "upsert beyond a list", masks: `[{"op":"upsert","path":"/input/a/2","value":9}]`, input: `{"a":[1,2]}`, want: `{"input":{"a":[1,2]}}`},
	{name: "upsert the input", masks: `[{"op":"upsert","path":"/input","value":{"x":1}}]`, input: `{"a":1}`, want: `{"input":{"x":1},"masked":["/input"]}`},
	{name: "upsert where there is no input", masks: `[{"op":"upsert","path":"/input/a","value":1}]`, result: `true`, want: `{"result":true}`},
	{name: "both", masks: `[{"op":"upsert","path":"/input/a","value":"**"},"/input/b","/result"]`, input: `{"a":1,"b":2}`, result: `true`, want: `{"input":{"a":"**"},"erased":["/input/b","/result"],"masked":["/input/a"]}`},
	{name: "OPA's cache", masks: `["/nd_builtin_cache/http.send"]`, input: `{"a":1}`, want: `{"input":{"a":1}}`},
	{name: "a name with a space", masks: `["/input/a b"]`, input: `{"a b":1}`, want: `{"input":{},"erased":["/input/a b"]}`, ours: "OPA looks for the percent-encoded name only"},
	{name: "percent-encoded", masks: `["/input/a%20b"]`, input: `{"a b":1}`, want: `{"input":{},"erased":["/input/a%20b"]}`, ours: "likewise, twice encoded"},
	{name: "a name with a slash", masks: `["/input/a%2Fb","/input/c~1d"]`, input: `{"a/b":1,"c/d":2}`, want: `{"input":{},"erased":["/input/a%2Fb","/input/c~1d"]}`, ours: "OPA cannot name it"},
	{name: "no mask op", masks: `[{"path":"/input/a"}]`, input: `{"a":1}`, result: `true`, want: `{"erased":["/input","/result"]}`, ours: "OPA loses the event"},
	{name: "another op", masks: `[{"op":"hide","path":"/input/a"}]`, input: `{"a":1}`, want: `{"erased":["/input"]}`, ours: "OPA loses the event"},
	{name: "not a mask", masks: `[1]`, input: `{"a":1}`, want: `{"erased":["/input"]}`, ours: "OPA loses the event"},
	{name: "not a list", masks: `{"/input/a":1}`, input: `{"a":1}`, want: `{"erased":["/input"]}`, ours: "OPA loses the event"},
	{name: "elsewhere", masks: `["/labels/id"]`, input: `{"a":1}`, want: `{"erased":["/input"]}`, ours: "OPA loses the event"},
}

func TestMasksWorkAsInOPA(t *testing.T) {
	t.Parallel()
	for _, tt := range maskTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answer, err := ast.ValueFromReader(strings.NewReader(tt.masks))
			if err != nil {
				t.Fatal(err)
			}
			c := Config{Rules: func(string) Rules {
				return Rules{Mask: func(context.Context, ast.Value) (ast.Value, error) { return answer, nil }}
			}}
			e := Event{}
			if tt.input != "" {
				e.Input = value(t, tt.input)
			}
			if tt.result != "" {
				e.Result, _ = value(t, tt.result)()
			}
			got := partsOf(t, logged(t, c, e)[0])
			if diff := cmp.Diff(indent(t, tt.want), indent(t, got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestConfiguredMasksComeFirst, and a value that masks put in is never shared.
func TestConfiguredMasksComeFirst(t *testing.T) {
	t.Parallel()
	shared := map[string]any{"b": []any{1, 2}}
	c := Config{
		Masks: []Mask{{Op: Upsert, Path: "/input/a", Value: shared}, {Path: "/input/a/b/0"}, {Path: "/input/c"}},
		Rules: func(policy string) Rules {
			if policy != "p" {
				return Rules{}
			}
			return Rules{Mask: func(context.Context, ast.Value) (ast.Value, error) {
				return ast.NewArray(ast.StringTerm("/input/a/b/0")), nil
			}}
		},
	}
	e := Event{Policy: "p", Input: value(t, `{"a":{},"c":1}`)}
	other := e
	other.Policy = "other"
	lines := logged(t, c, e, e, other)
	for i, want := range []string{
		`{"input":{"a":{"b":[]}},"erased":["/input/a/b/0","/input/c","/input/a/b/0"],"masked":["/input/a"]}`,
		`{"input":{"a":{"b":[]}},"erased":["/input/a/b/0","/input/c","/input/a/b/0"],"masked":["/input/a"]}`,
		`{"input":{"a":{"b":[2]}},"erased":["/input/a/b/0","/input/c"],"masked":["/input/a"]}`,
	} {
		if got := partsOf(t, lines[i]); got != want {
			t.Errorf("event %d:\n got %s\nwant %s", i, got, want)
		}
	}
	if len(shared["b"].([]any)) != 2 {
		t.Error("the configuration was changed")
	}
}

// TestInputIsNotChanged: the ast value is the policy's too, and a remembered
// result is that of other requests.
func TestInputIsNotChanged(t *testing.T) {
	t.Parallel()
	input, err := ast.ValueFromReader(strings.NewReader(`{"a":[1,{"b":2}],"headers":{"cookie":"c"}}`))
	if err != nil {
		t.Fatal(err)
	}
	result := map[string]any{"a": []any{1}, "headers": map[string]any{"cookie": "c"}}
	before, beforeResult := input.String(), ast.MustInterfaceToValue(result).String()
	logged(t, Config{Masks: []Mask{{Path: "/input/a/1/b"}, {Path: "/result/a/0"}}}, Event{
		Input: func() (any, error) { return input, nil }, Result: result,
	})
	if after := input.String(); after != before {
		t.Errorf("input became %s", after)
	}
	if after := ast.MustInterfaceToValue(result).String(); after != beforeResult {
		t.Errorf("result became %s", after)
	}
}

// TestSecretHeadersNeverGetOut, in whatever form the input has them, whatever
// masks and rules say.
func TestSecretHeadersNeverGetOut(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, input string
		want        string
	}{
		{
			"by name",
			`{"attributes":{"request":{"http":{"headers":{"authorization":"SECRET","cookie":"SECRET","proxy-authorization":"SECRET","dpop":"SECRET","x-a":"1"}}}}}`,
			`{"input":{"attributes":{"request":{"http":{"headers":{"x-a":"1"}}}}},"erased":["/input/attributes/request/http/headers/authorization","/input/attributes/request/http/headers/cookie","/input/attributes/request/http/headers/dpop","/input/attributes/request/http/headers/proxy-authorization"]}`,
		},
		{
			"in any case",
			`{"headers":{"Authorization":["SECRET","SECRET"],"COOKIE":"SECRET"}}`,
			`{"input":{"headers":{}},"erased":["/input/headers/Authorization","/input/headers/COOKIE"]}`,
		},
		{
			"in a list",
			`{"attributes":{"request":{"http":{"headerMap":{"headers":[{"key":"DPoP","rawValue":"SECRET","value":"SECRET"},{"key":"x-a","value":"1"}]}}}}}`,
			`{"input":{"attributes":{"request":{"http":{"headerMap":{"headers":[{"key":"DPoP"},{"key":"x-a","value":"1"}]}}}}},"erased":["/input/attributes/request/http/headerMap/headers/0/rawValue","/input/attributes/request/http/headerMap/headers/0/value"]}`,
		},
		{
			"below a name that does not",
			`{"request_headers":{"fields":[{"key":"cookie","value":"SECRET"}],"raw/~":{"dpop":"SECRET"}}}`,
			`{"input":{"request_headers":{"fields":[{"key":"cookie"}],"raw/~":{}}},"erased":["/input/request_headers/fields/0/value","/input/request_headers/raw~1~0/dpop"]}`,
		},
		{
			"one more of the configuration",
			`{"headers":{"x-forwarded-access-token":"SECRET"}}`,
			`{"input":{"headers":{}},"erased":["/input/headers/x-forwarded-access-token"]}`,
		},
		{
			"claims and data of that name are no headers",
			`{"token":{"claims":{"authorization":{"permissions":[]}}},"parsed_body":{"cookie":"chocolate"},"parsed_path":["cookie"]}`,
			`{"input":{"parsed_body":{"cookie":"chocolate"},"parsed_path":["cookie"],"token":{"claims":{"authorization":{"permissions":[]}}}}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seen := ""
			c := Config{EraseHeaders: []string{"X-Forwarded-Access-Token"}, Rules: func(string) Rules {
				ask := func(_ context.Context, event ast.Value) (ast.Value, error) {
					seen += event.String()
					return nil, nil
				}
				return Rules{Drop: ask, Mask: ask}
			}}
			line := logged(t, c, Event{Input: value(t, tt.input)})[0]
			if got := partsOf(t, line); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			if strings.Contains(line+seen, "SECRET") || seen == "" {
				t.Errorf("logged %s\nrules saw %s", line, seen)
			}
		})
	}
}

// TestSecretHeadersOfTheResult: a policy may set them upstream and downstream.
func TestSecretHeadersOfTheResult(t *testing.T) {
	t.Parallel()
	line := logged(t, Config{}, Event{Result: map[string]any{
		"allowed": true, "headers": map[string]string{"Authorization": "SECRET", "x-user": "u"},
		"response_headers_to_add": map[string][]string{"set-cookie": {"SECRET"}},
	}})[0]
	want := `{"result":{"allowed":true,"headers":{"x-user":"u"},"response_headers_to_add":{}},"erased":["/result/headers/Authorization","/result/response_headers_to_add/set-cookie"]}`
	if got := partsOf(t, line); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// TestRulesSeeTheEventAsItWillBe in OPA's form, and a drop rule drops only
// when it says true.
func TestRulesSeeTheEventAsItWillBe(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	answers := map[string]ast.Value{"true": ast.Boolean(true), "false": ast.Boolean(false), "undefined": nil, "a string": ast.String("true")}
	c := Config{Metrics: r, Labels: map[string]string{"id": "n"}, Rules: func(policy string) Rules {
		return Rules{Drop: func(_ context.Context, event ast.Value) (ast.Value, error) {
			if policy == "broken" {
				return nil, errors.New("conflict")
			}
			want := `{"bundles": {"` + policy + `": {"revision": "r"}}, "custom": {"allowed": false, "policy": "` + policy + `", "reason": "refused"}, "decision_id": "", "input": {"a": 1}, "labels": {"id": "n"}, "result": false, "timestamp": "0001-01-01T00:00:00Z"}`
			if event.String() != want {
				t.Errorf("saw %s\nwant %s", event, want)
			}
			return answers[policy], nil
		}}
	}}
	var events []Event
	for _, policy := range []string{"true", "false", "undefined", "a string", "broken"} {
		events = append(events, Event{Policy: policy, PolicyRevision: "r", Result: false, Input: value(t, `{"a":1}`)})
	}
	if lines := logged(t, c, events...); len(lines) != 4 || slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, `"policy":"true"`) }) {
		t.Errorf("logged %s", lines)
	}
	wantFigures(t, r, map[string]float64{"events_total logged": 4, "events_total dropped": 1, "rule_errors_total": 1})
}

// TestMaskRuleThatFailsHidesAll: what it would have hidden is not known.
func TestMaskRuleThatFailsHidesAll(t *testing.T) {
	t.Parallel()
	c := Config{Rules: func(string) Rules {
		return Rules{Mask: func(context.Context, ast.Value) (ast.Value, error) { return nil, errors.New("deadline") }}
	}}
	line := logged(t, c, Event{ID: "kept", Input: value(t, `{"a":"SECRET"}`), Result: "SECRET"})[0]
	if strings.Contains(line, "SECRET") || !strings.Contains(line, `"kept"`) || partsOf(t, line) != `{"erased":["/input","/result"]}` {
		t.Errorf("logged %s", line)
	}
}

// FuzzMasks: whatever the paths, nothing panics, and a path reported as erased
// was there.
func FuzzMasks(f *testing.F) {
	for _, tt := range maskTests {
		f.Add(tt.masks, orNull(tt.input))
	}
	type only struct {
		Input *any `json:"input,omitempty"`
	}
	f.Fuzz(func(t *testing.T, masks, input string) {
		var answer, doc any
		if json.Unmarshal([]byte(masks), &answer) != nil || json.Unmarshal([]byte(input), &doc) != nil {
			return
		}
		list, err := parseMasks(answer)
		if err != nil {
			return
		}
		compiled, err := compileMasks(list)
		if err != nil {
			return
		}
		d := &document{Input: &doc}
		for i := range compiled {
			before := mustMarshal(t, only{d.Input})
			erased := len(d.Erased)
			compiled[i].apply(d)
			if after := mustMarshal(t, only{d.Input}); len(d.Erased) > erased && after == before {
				t.Errorf("%q is said to be erased from %s", compiled[i].Path, before)
			} else if len(d.Erased) == erased && compiled[i].Op == Remove && after != before {
				t.Errorf("%q changed %s to %s and nothing is said", compiled[i].Path, before, after)
			}
		}
	})
}

func orNull(text string) string {
	if text != "" {
		return text
	}
	return "null"
}

func mustMarshal(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
