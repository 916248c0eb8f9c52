package grant

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
)

// asked narrows what is released to what was asked for: the resources of the
// authorization, or those of them that the token request names (RFC 8707 §2.2).
func (req request) asked(released *claims.Claims, a session.Asked) error {
	may := released.Audience
	if len(a.Resource) > 0 {
		may = slices.DeleteFunc(slices.Clone(a.Resource), func(r string) bool {
			return !slices.Contains(released.Audience, r) // it was taken from the client meanwhile
		})
		if len(may) == 0 {
			return &oauth.Error{Code: oauth.CodeInvalidTarget}
		}
	}
	wanted := req.resources()
	if slices.ContainsFunc(wanted, func(r string) bool { return !oauth.IsResource(r) || !slices.Contains(may, r) }) {
		return &oauth.Error{Code: oauth.CodeInvalidTarget}
	}
	if len(wanted) > 0 {
		may = wanted
	}
	released.Audience = may
	return nil
}

// resources are what the token request names, each once.
func (req request) resources() []string { return unique(req.lists["resource"]) }

func unique(names []string) []string {
	var once []string
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// named are the claims that an authorization named.
func named(a session.Asked) (n claims.Named, err error) {
	if len(a.Claims) == 0 {
		return n, nil
	}
	if err := json.Unmarshal(a.Claims, &n); err != nil {
		return n, fmt.Errorf("reading the claims that were asked for: %w", err)
	}
	return n, nil
}
