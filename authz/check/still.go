package check

import (
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

// Still decides again about a token that was let through before, without its
// request: Allowed, or the refusal that it would meet now. Policies are not
// asked again. verify is a Verifier's Still; trust is as Config.Trust, and read
// after the decision began.
func (c *Checker) Still(id verify.Identity, verify func(verify.Identity) error, trust func(issuer string) revocation.Trust) Decision {
	s := &steps{c: c}
	if s.still(id, verify(id), trust) {
		s.d.Allowed, s.d.Reason = true, Allowed
	}
	return s.d
}

func (s *steps) still(id verify.Identity, err error, trust func(issuer string) revocation.Trust) bool {
	if err != nil {
		s.refuse(InvalidToken, err)
		return false
	}
	view := s.c.c.Revocations.Begin()
	defer view.End()
	s.d.RevocationRevision = view.Revision()
	if !s.trusted(trust(id.Revocation.Issuer)) {
		return false
	}
	if record, dead := view.Revoked(id.Revocation); dead {
		s.refuse(Revoked, byRecord(record))
		return false
	}
	return true
}
