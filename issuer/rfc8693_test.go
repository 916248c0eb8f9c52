package issuer_test

import "testing"

// TestRFC8693 is Token Exchange, as far as it is offered: access tokens in, and
// no may_act (§4.4).
func TestRFC8693(t *testing.T) {
	prove(t, []rule{
		{"2.1", "grant_type, subject_token and its type are required", by(TestTokenExchangeRefused)},
		{"2.1", "who asks authenticates, and may", by(TestTokenExchangeRefused)},
		{"2.1", "actor_token_type is not there without an actor_token", actorTypeAlone},
		{"2.1", "resource and audience that are not the client's are refused, several are taken", by(TestTokenExchangeRefused, TestTargetsOfAnExchange)},
		{"2.1", "a subject_token of another type than said is refused", by(TestTokenExchangeRefused)},
		{"2.1", "the subject_token is checked as any token", by(TestTokenExchangeRefused)},
		{"2.2.1", "the answer has access_token, issued_token_type and token_type", by(TestTokenExchange)},
		{"2.2.1", "token_type is N_A of what is no access token", by(TestTokenExchange)},
		{"2.2.1", "scope is in the answer where it is not what was asked", by(TestTokenExchange)},
		{"2.2.2", "errors are those of the token endpoint, with invalid_target for a target", by(TestTokenExchangeRefused)},
		{"4.1", "who acts is in act, whoever acted before within it", by(TestDelegation)},
		{"5", "who is no audience of a token cannot exchange it", by(TestTokenExchangeRefused)},
		{"5", "what comes out dies with the session of what went in", by(TestExchangedTokensEndWithTheSession, TestExchangedTokensOfAServiceAccountDie)},
	})
}

func actorTypeAlone(t *testing.T, _ *server) {
	s := startExchange(t)
	status, answer := s.exchange("tx", s.front(t)["access_token"], map[string]string{"actor_token_type": accessType})
	if status != 400 || answer["error"] != "invalid_request" {
		t.Errorf("%d %v", status, answer)
	}
}
