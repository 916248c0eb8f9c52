package claims

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/user"
)

// OpenID Connect Core §5.4.
func TestScopesDecideWhatIsReleased(t *testing.T) {
	t.Parallel()
	alice := user.User{ID: "u", Username: "alice", Email: "a@b.example", FirstName: "Alice", LastName: "Test", EmailVerified: true}
	profile := map[string]any{"preferred_username": "alice", "name": "Alice Test", "given_name": "Alice", "family_name": "Test"}
	for _, tt := range []struct {
		scope string
		user  user.User
		want  map[string]any
	}{
		{"openid", alice, map[string]any{}},
		{"", alice, map[string]any{}},
		{"profiles emails", alice, map[string]any{}},
		{"profile", alice, profile},
		{"openid email", alice, map[string]any{"email": "a@b.example", "email_verified": true}},
		{"email profile", user.User{Username: "b"}, map[string]any{"preferred_username": "b"}},
	} {
		got := For(Request{Client: client.Client{Audience: []string{"api"}}, User: tt.user, Scope: tt.scope})
		for kind, claims := range map[string]map[string]any{"access": got.Access, "ID": got.ID, "UserInfo": got.UserInfo} {
			if diff := cmp.Diff(tt.want, claims); diff != "" {
				t.Errorf("scope %q, %s (-want +got):\n%s", tt.scope, kind, diff)
			}
		}
		if diff := cmp.Diff([]string{"api"}, got.Audience); diff != "" {
			t.Error(diff)
		}
	}
}
