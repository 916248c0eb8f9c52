package grant

import (
	"slices"

	"github.com/tegata/tegata/issuer/claims"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
)

// asked narrows what is released to what was asked for: the resources of the
// authorization, or one of them that the token request names (RFC 8707 §2.2).
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
	if one := req.form["resource"]; one != "" {
		if !slices.Contains(may, one) {
			return &oauth.Error{Code: oauth.CodeInvalidTarget}
		}
		may = []string{one}
	}
	released.Audience = may
	return nil
}
