package revocation

// Outcome is how far a committed revocation has reached at one moment: what
// whoever revoked is told.
type Outcome struct {
	Revision Revision `json:"revision"`

	// Applied is how many watchers have it in force, with no decision running
	// on an older state. Expired is how many others have stopped trusting what
	// they know, because their lease ended. Neither accepts a token that is
	// dead.
	Applied int `json:"applied"`
	Expired int `json:"expired"`

	// Pending names the watchers that may still trust an older state, each
	// for the rest of its lease.
	Pending []string `json:"pending"`

	// Unbounded names watchers without a lease that go on accepting tokens by
	// their configuration: nothing is promised for them and no wait helps.
	Unbounded []string `json:"unbounded"`
}

// Hidden is o without names, for who may not see them: as many stay.
func (o Outcome) Hidden() Outcome {
	o.Pending, o.Unbounded = hidden(o.Pending), hidden(o.Unbounded)
	return o
}

func hidden(names []string) []string {
	out := make([]string, len(names))
	for i := range out {
		out[i] = "(hidden)"
	}
	return out
}
