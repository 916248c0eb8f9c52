package oauth

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Preferences are what a caller prefers of an answer (RFC 7240), as far as it
// is for us.
type Preferences struct {
	Async          bool // respond-async: do not wait
	HasWait        bool
	Wait           time.Duration // wait: at most this long, in whole seconds
	Representation bool          // return=representation: say it in a body too
}

// maxWait bounds what is read of wait; nothing here takes as long.
const maxWait = 24 * time.Hour

// ParsePrefer reads the Prefer headers. As RFC 7240 §2 wants, what is unknown
// or malformed is passed over, and of several that are alike the first counts.
func ParsePrefer(h http.Header) Preferences {
	var p Preferences
	returned := false
	for part := range strings.SplitSeq(strings.Join(h.Values("Prefer"), ","), ",") {
		part, _, _ = strings.Cut(part, ";") // parameters: none of ours has any
		name, value, _ := strings.Cut(part, "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "respond-async":
			p.Async = true
		case "wait":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil && !p.HasWait {
				p.HasWait, p.Wait = true, min(time.Duration(n)*time.Second, maxWait)
			}
		case "return":
			if !returned {
				returned, p.Representation = true, value == "representation"
			}
		}
	}
	return p
}
