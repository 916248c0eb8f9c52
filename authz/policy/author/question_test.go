package author

import (
	"errors"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// FuzzQuestion: whatever is asked is either refused as a question or makes a
// request whose input document can be built.
func FuzzQuestion(f *testing.F) {
	f.Add("GET /orders?a=1", "x-a: b", "", "", "")
	f.Add("GET https://h.test/p", "authorization: Bearer a.b.c", `{"sub": "s", "scope": "a"}`, "", "body")
	f.Add("", "", "", `{"attributes": {"request": {"http": {"method": "GET", "path": "/"}}}, "token": {"claims": {"n": 1}}}`, "")
	f.Add("", "", "null", `{"token": {"claims": []}}`, "")
	f.Add("GET /%zz", ":", "[]", "[]", "{")
	f.Fuzz(func(t *testing.T, request, header, claims, input, body string) {
		q := Question{Request: request, Body: body}
		if header != "" {
			q.Headers = []string{header}
		}
		if claims != "" {
			q.Claims = []byte(claims)
		}
		if input != "" {
			q.Input = []byte(input)
		}
		a, err := q.ask()
		if err == nil {
			_, err = a.request()
		}
		if err != nil {
			if !errors.Is(err, ErrQuestion) {
				t.Fatalf("error = %v, want one about the question", err)
			}
			return
		}
		members, err := a.members()
		if err != nil || ast.NewObject(members...).Len() != len(members) {
			t.Fatalf("members %v, %v", members, err)
		}
	})
}

// TestTheSameMembersEachTime: check appends to what it gets.
func TestTheSameMembersEachTime(t *testing.T) {
	t.Parallel()
	a, err := Question{Input: []byte(`{"a": 1, "b": 2, "token": {"subject": "s"}}`)}.ask()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		members, _ := a.members()
		if len(members) != 2 {
			t.Fatalf("members = %v", members)
		}
		_ = append(members, [2]*ast.Term{ast.StringTerm("c"), ast.NullTerm()})
	}
}
