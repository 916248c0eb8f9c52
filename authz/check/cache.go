package check

import (
	"maps"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tegata/tegata/authz/policy"
	"github.com/tegata/tegata/authz/policy/reads"
	"github.com/tegata/tegata/authz/verify"
)

// maxRemembered is how many decisions hang on one token at most, so that no
// client can take more memory than its tokens are worth. maxKey keeps a policy
// that reads long values from filling it.
const (
	maxRemembered = 32
	maxKey        = 1 << 10
)

// memory is the decisions of one policy about one token, by key. It is
// immutable: a new decision makes a new memory.
type memory struct {
	policy    *policy.Policy
	decisions map[string]*remembered
}

// remembered is one decision, and what the door made of it.
type remembered struct {
	result policy.Result
	made   Made
}

// key appends the encoding of everything the policy can read but the token,
// on which the memory hangs. ok is false if the decision must not be remembered.
func (s *steps) key(dst []byte) (key []byte, ok bool) {
	what := s.policy.Reads()
	if s.c.c.NoCache || s.d.Token == nil || s.r.Key == nil || !what.Cacheable() {
		return nil, false
	}
	for _, path := range what.Paths {
		switch path[0] {
		case "token":
		case "route":
			dst = s.appendRoute(dst)
		case "revocation":
			dst = s.appendRevocation(dst)
		default:
			if dst, ok = s.r.Key(dst, path); !ok {
				return nil, false
			}
		}
		if len(dst) > maxKey {
			return nil, false
		}
	}
	return dst, true
}

func (s *steps) appendRoute(dst []byte) []byte {
	if s.d.Route == "" {
		return reads.AppendUndefined(dst)
	}
	return reads.AppendString(dst, s.d.Route)
}

// appendRevocation stands for every path below input.revocation.
func (s *steps) appendRevocation(dst []byte) []byte {
	revision := ast.Number(strconv.FormatUint(uint64(s.d.RevocationRevision), 10))
	dst, _ = reads.AppendValue(reads.AppendBool(dst, s.stale), revision) // a number always has an encoding
	return dst
}

// recall returns the policy's decision about the token under a key, or nil.
func recall(t *verify.Token, p *policy.Policy, key []byte) *remembered {
	m, _ := t.Memo.Load().(*memory)
	if m == nil || m.policy != p {
		return nil
	}
	return m.decisions[string(key)]
}

// remember adds a decision. Of two that race one may be lost, which costs an
// evaluation. A full memory starts anew.
func remember(t *verify.Token, p *policy.Policy, key []byte, result policy.Result) *remembered {
	next := &memory{policy: p, decisions: map[string]*remembered{}}
	if old, _ := t.Memo.Load().(*memory); old != nil && old.policy == p && len(old.decisions) < maxRemembered {
		next.decisions = maps.Clone(old.decisions)
	}
	r := &remembered{result: result}
	next.decisions[string(key)] = r
	t.Memo.Store(next)
	return r
}
