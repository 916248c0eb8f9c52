package claims

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/realm"
)

// Maker makes claims. It keeps the plans of realms and clients as they were
// stored, by their versions: a change is another version, so nothing that is
// kept can be out of date. The zero Maker is ready, and nil keeps nothing.
type Maker struct {
	mu    sync.RWMutex
	plans map[planKey]*plan
}

// maxPlans bounds how many plans are kept; beyond it, all are made anew.
const maxPlans = 10_000

// planKey is what a plan depends on.
type planKey struct {
	realm, client               string // ids
	realmVersion, clientVersion uint64
	scope                       string
}

// plan is how claims are made for a client with a scope.
type plan struct {
	rules []rule  // of granted scopes and the client, in the order in which they apply
	named []named // what requests may name

	subject func(userID string) string
	scope   *roles // see scopeRoles; nil: all

	once    sync.Once // see ForClient
	account Claims
}

// plan returns the plan for a client with a scope. A realm or client that was
// not read from a store has no version, and its plan is not kept.
func (m *Maker) plan(r realm.Realm, c client.Client, scope string) *plan {
	key := planKey{r.ID, c.ID, r.Version, c.Version, scope}
	if m == nil || r.Version == 0 || c.Version == 0 {
		return newPlan(r, c, scope)
	}
	m.mu.RLock()
	kept, ok := m.plans[key]
	m.mu.RUnlock()
	if ok {
		return kept
	}
	made := newPlan(r, c, scope)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.plans == nil || len(m.plans) >= maxPlans {
		m.plans = make(map[planKey]*plan)
	}
	m.plans[key] = made
	return made
}

// newPlan compiles the mappers of the granted scopes and of the client; those
// come first that decide which roles the others see. A mapper that cannot be
// understood releases nothing; Check keeps such out of realms.
func newPlan(r realm.Realm, c client.Client, scope string) *plan {
	var mappers []realm.Mapper
	scopes := appliedScopes(r, c, scope)
	for _, name := range scopes {
		s, _ := r.Settings.ClientScope(name)
		mappers = append(mappers, s.Mappers...)
	}
	mappers = append(mappers, c.Mappers...)
	slices.SortStableFunc(mappers, func(a, b realm.Mapper) int { return cmp.Compare(rank(a), rank(b)) })
	p := &plan{named: namedOf(r, c), subject: subjects(r, c), scope: scopeRoles(r, c, scopes)}
	for _, m := range mappers {
		if compiled, err := compile(m); err == nil {
			p.rules = append(p.rules, compiled)
		}
	}
	return p
}

func rank(m realm.Mapper) int {
	if m.Type == hardcodedRole {
		return 0
	}
	return 1
}

// appliedScopes are the granted ones and those that are granted without being
// named.
func appliedScopes(r realm.Realm, c client.Client, scope string) []string {
	scopes := strings.Fields(scope)
	for _, name := range c.DefaultClientScopes {
		if s, ok := r.Settings.ClientScope(name); ok && !s.Shown() && !slices.Contains(scopes, name) {
			scopes = append(scopes, name)
		}
	}
	return scopes
}
