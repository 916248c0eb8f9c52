package oauth

import (
	"net/http"
	"testing"
	"time"
)

// TestPreferences: RFC 7240 §2, §4.
func TestPreferences(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values []string
		want   Preferences
	}{
		{"none", nil, Preferences{}},
		{"§4.1", []string{"respond-async"}, Preferences{Async: true}},
		{"§4.3", []string{"respond-async, wait=10"}, Preferences{Async: true, HasWait: true, Wait: 10 * time.Second}},
		{"§2: several headers are one", []string{"wait=5", "return=representation"}, Preferences{HasWait: true, Wait: 5 * time.Second, Representation: true}},
		{"§2: quoted, spaced, any case", []string{`Wait = "7" ; x=y`}, Preferences{HasWait: true, Wait: 7 * time.Second}},
		{"§2: the first counts", []string{"wait=1, wait=2, return=minimal, return=representation"}, Preferences{HasWait: true, Wait: time.Second}},
		{"§2: unknown and malformed ones are passed over", []string{"wait=soon, wait=-1, foo, , =, wait=99999999999999999999, return"}, Preferences{}},
		{"a wait has an end", []string{"wait=2147483647"}, Preferences{HasWait: true, Wait: 24 * time.Hour}},
	} {
		if got := ParsePrefer(http.Header{"Prefer": tt.values}); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
