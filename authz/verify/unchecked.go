package verify

// Unchecked reads a compact JWT as Verify does, and believes every word of it:
// neither signature nor audience, type or time is looked at. It is for
// rehearsing policies with made-up tokens, never for deciding a request.
// scopeClaim is as in Issuer; empty: "scope".
func Unchecked(compact, scopeClaim string) (*Token, error) {
	u, err := takeApart(compact, nil)
	if err != nil {
		return nil, err
	}
	name, ok := u.claims["iss"].(string)
	if !ok {
		return nil, wrongClaim("iss")
	}
	if scopeClaim == "" {
		scopeClaim = "scope"
	}
	i := &issuer{trust: Issuer{Issuer: name, ScopeClaim: scopeClaim, InsecureAnyAudience: true}}
	token, _, err := i.read(u.Header(), u)
	return token, err
}
