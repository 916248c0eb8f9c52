package realm

import (
	"fmt"
	"strings"
)

// Roles are role names: of the realm, and of clients by client id.
type Roles struct {
	Realm  []string            `json:"realm,omitempty"`
	Client map[string][]string `json:"client,omitempty"`
}

// Role is a role that has others in it (Keycloak's composite), if any.
type Role struct {
	Name       string `json:"name"`
	Composites Roles  `json:"composites,omitzero"`
}

// RoleDefinitions are the roles of a realm. Who is given a role that is not
// here has it all the same; it only has no others in it.
type RoleDefinitions struct {
	Realm  []Role            `json:"realm,omitempty"`
	Client map[string][]Role `json:"client,omitempty"` // by client id
}

// Group is a group of people, who have its roles and those of the groups
// around it.
type Group struct {
	Name       string              `json:"name"`
	Roles      Roles               `json:"roles,omitzero"`
	Attributes map[string][]string `json:"attributes,omitempty"`
	SubGroups  []Group             `json:"subGroups,omitempty"`
}

// GroupPath returns the group at a path as Keycloak writes it, "/staff/cooks",
// behind the groups around it, outermost first; nil if there is none.
func (s Settings) GroupPath(path string) []Group {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil
	}
	return descend(s.Groups, rest)
}

func descend(groups []Group, path string) []Group {
	for _, g := range groups {
		if g.Name == path {
			return []Group{g}
		}
		// A name may have a slash in it, so no path is split before it is known.
		if below, ok := strings.CutPrefix(path, g.Name+"/"); ok {
			if found := descend(g.SubGroups, below); found != nil {
				return append([]Group{g}, found...)
			}
		}
	}
	return nil
}

// Limits on roles and groups.
const (
	maxRoles      = 10000
	maxGroups     = 10000
	maxGroupDepth = 50
	maxRole       = 255 // bytes of a role's or group's name
)

func (s Settings) checkRoles() error {
	n := len(s.Roles.Realm)
	all := [][]Role{s.Roles.Realm}
	for _, roles := range s.Roles.Client {
		n += len(roles)
		all = append(all, roles)
	}
	if n > maxRoles {
		return fmt.Errorf("%d roles: want at most %d", n, maxRoles)
	}
	for _, roles := range all {
		for _, role := range roles {
			if role.Name == "" || len(role.Name) > maxRole {
				return fmt.Errorf("role %.100q: want 1 to %d bytes", role.Name, maxRole)
			}
		}
	}
	return nil
}

func checkGroups(groups []Group, depth int, left *int) error {
	if depth > maxGroupDepth {
		return fmt.Errorf("groups in groups: want at most %d levels", maxGroupDepth)
	}
	for _, g := range groups {
		if *left--; *left < 0 {
			return fmt.Errorf("groups: want at most %d", maxGroups)
		}
		if g.Name == "" || len(g.Name) > maxRole {
			return fmt.Errorf("group %.100q: want 1 to %d bytes", g.Name, maxRole)
		}
		if err := checkGroups(g.SubGroups, depth+1, left); err != nil {
			return err
		}
	}
	return nil
}
