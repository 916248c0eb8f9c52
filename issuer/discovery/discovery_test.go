package discovery

import (
	"net/http"
	"testing"

	"github.com/tegata/tegata/issuer/keys"
)

// TestNobodyKeepsKeysForLongerThanTheyArePublishedAhead: with room for clocks
// that differ, and for the second that a process may be behind.
func TestNobodyKeepsKeysForLongerThanTheyArePublishedAhead(t *testing.T) {
	t.Parallel()
	if keys.PublishAhead < 2*keys.CacheFor || cacheKeys != "public, max-age=60" {
		t.Errorf("%q, and keys are published %v ahead", cacheKeys, keys.PublishAhead)
	}
}

func TestIfNoneMatch(t *testing.T) { // RFC 9110 §13.1.2
	t.Parallel()
	for field, want := range map[string]bool{
		`"a"`: true, `W/"a"`: true, `"b", "a"`: true, `"b" , W/"a"`: true, `*`: true,
		``: false, `a`: false, `"b"`: false, `"ab"`: false, `W/"b"`: false,
	} {
		h := http.Header{"If-None-Match": {field}}
		if got := matches(h.Values("If-None-Match"), `"a"`); got != want {
			t.Errorf("%s: %t, want %t", field, got, want)
		}
	}
	if matches(nil, `"a"`) || !matches([]string{`"b"`, `"a"`}, `"a"`) {
		t.Error("no field, or two of them")
	}
}
