package check

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/tegata/tegata/authz/policy"
)

// Named is one of several policies.
type Named struct {
	Name   string
	Engine *policy.Engine
	Match  Match

	// Shadow lets through what would have been refused, for whatever reason,
	// and says so in log, metrics and metadata. What the policy adds to and
	// removes from the request, and adds to the response, is done as if it
	// decided.
	Shadow bool

	// LeaveTokens leaves tokens to the policy, as the OPA-Envoy plugin does: a
	// request whose token is not valid here is decided without input.token, and
	// a refusal is 403 without a challenge unless the policy says otherwise.
	// Revoked tokens, and bound ones that are not shown as they are bound, are
	// refused all the same.
	LeaveTokens bool
}

// Match says which requests a policy is for: those that fit one element of
// each list that is not empty, and have all of the extensions.
type Match struct {
	Hosts        []string          // without port; "*.example.com" is every name below example.com
	Paths        []string          // "/a" is /a and all below it
	Destinations []string          // principal of the workload, such as a SPIFFE id; a * at the end stands for any rest
	Extensions   map[string]string // context extensions of Envoy's route
}

// choice is the policies in order, the last being for whatever is left.
type choice struct {
	named []Named
	paths bool // whether one of them asks for the path
}

// defaultName is the name of Config.Policy.
const defaultName = "default"

func newChoice(c Config) (choice, error) {
	var all choice
	seen := map[*policy.Engine]bool{}
	for _, n := range c.Policies {
		if n.Name == "" || n.Name == defaultName || n.Engine == nil {
			return choice{}, fmt.Errorf("policy %q needs an engine and a name that is not %q", n.Name, defaultName)
		}
		if slices.ContainsFunc(all.named, func(o Named) bool { return o.Name == n.Name }) || seen[n.Engine] {
			return choice{}, fmt.Errorf("policy %q or its engine is there twice", n.Name)
		}
		if err := n.Match.check(); err != nil {
			return choice{}, fmt.Errorf("policy %q: %w", n.Name, err)
		}
		seen[n.Engine] = true
		all.named = append(all.named, n)
		all.paths = all.paths || len(n.Match.Paths) > 0
	}
	if c.Policy != nil {
		all.named = append(all.named, Named{Name: defaultName, Engine: c.Policy, Shadow: c.Shadow, LeaveTokens: c.LeaveTokens})
	}
	if len(all.named) == 0 {
		return choice{}, errors.New("no policy")
	}
	return all, nil
}

func (m Match) check() error {
	for _, host := range m.Hosts {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, "*/:") {
			return fmt.Errorf("host %q: want a name in lower case without port, or *.name", host)
		}
	}
	for _, path := range m.Paths {
		if !strings.HasPrefix(path, "/") || !policy.OneReading(path) {
			return fmt.Errorf("path %q: want / and plain segments", path)
		}
	}
	if slices.Contains(m.Destinations, "") {
		return errors.New("empty destination")
	}
	return nil
}

// choose takes the policy that is for the request.
func (s *steps) choose() bool {
	path, _, _ := strings.Cut(s.r.Path, "?")
	if s.c.choice.paths && !policy.OneReading(path) {
		// Spelt so, it could slip past the policy that it is for.
		s.refuse(NoPolicy, errors.New("the path has more than one reading"))
		return false
	}
	for i := range s.c.choice.named {
		n := &s.c.choice.named[i]
		if n.Match.fits(&s.r, path) {
			s.named, s.policy = n, n.Engine.Current()
			s.d.Policy, s.d.PolicyRevision = n.Name, s.policy.Revision()
			return true
		}
	}
	s.refuse(NoPolicy, nil)
	return false
}

func (m *Match) fits(r *Request, path string) bool {
	if len(m.Hosts) > 0 && !fitsHost(m.Hosts, r.Host) {
		return false
	}
	if len(m.Paths) > 0 && !slices.ContainsFunc(m.Paths, func(p string) bool { return below(p, path) }) {
		return false
	}
	if len(m.Destinations) > 0 && (r.Destination == nil || !fitsDestination(m.Destinations, r.Destination())) {
		return false
	}
	for name, value := range m.Extensions {
		if r.Extension == nil || r.Extension(name) != value {
			return false
		}
	}
	return true
}

func fitsHost(hosts []string, host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return slices.ContainsFunc(hosts, func(h string) bool {
		if domain, ok := strings.CutPrefix(h, "*"); ok {
			return len(host) > len(domain) && strings.HasSuffix(host, domain)
		}
		return host == h
	})
}

// below reports whether path is prefix or stands below it.
func below(prefix, path string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(prefix, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

func fitsDestination(destinations []string, principal string) bool {
	return slices.ContainsFunc(destinations, func(d string) bool {
		if start, ok := strings.CutSuffix(d, "*"); ok {
			return strings.HasPrefix(principal, start)
		}
		return principal == d
	})
}

// shadow turns the refusal of a policy that only shadows into an allow.
func (s *steps) shadow() {
	s.d.Shadow = s.named != nil && s.named.Shadow
	if s.d.Allowed || !s.d.Shadow {
		return
	}
	s.d.Allowed, s.d.Shadowed = true, true
	s.d.Status, s.d.Headers, s.d.Body = 0, nil, "" // were for the caller
}
