package issuer_test

import (
	"net/http"
	"testing"

	"github.com/tegata/tegata/internal/jose"
)

// TestRFC9068 is the JWT profile for access tokens. What a resource server must
// (§4) is proven at UserInfo, which is one.
func TestRFC9068(t *testing.T) {
	rsa := service("rs256", map[string]string{"access.token.signed.response.alg": "RS256"})
	prove(t, []rule{
		{"2.1", "typ is at+jwt", accessHeader},
		{"2.1", "a token is signed, never with none", accessHeader},
		{"2.1", "RS256 can be had", rs256},
		{"2.2", "iss, exp, aud, sub, client_id, iat and jti are there", accessClaims},
		{"2.2", "jti is another each time", jtisDiffer},
		{"2.2.1", "auth_time and acr are the login's, and stay so when refreshed", authenticationStays},
		{"2.2.3", "scope is there if it was asked for", accessClaims},
		{"3", "aud is there without resource too, a default", tokensHaveAudiences},
		{"3", "aud is the resource that was asked for", by(TestTokensAreForTheResourceThatWasAsked)},
		{"4", "a token of another typ is refused", idTokenIsNoAccessToken},
		{"4", "a token of another issuer is refused", otherIssuers},
		{"4", "a changed signature is refused", changedTokens},
		{"4", "a token past its exp is refused", told("introspect.txt", "… at userinfo too")},
		{"5", "the sub of a client is nobody's", clientsAreNobody},
		{"6", "an access token says of a person what its scope lets it", scopeBoundsClaims},
	}, rsa)
}

func accessHeader(t *testing.T, s *server) {
	for name, token := range map[string]any{"a client's": s.clientToken(""), "a person's": s.tokens(t, "app", "openid")["access_token"]} {
		header, _ := s.response(token.(string))
		if header.Type != "at+jwt" || header.Algorithm != jose.ES256 || header.KeyID == "" {
			t.Errorf("%s: %+v", name, header)
		}
	}
}

func rs256(t *testing.T, s *server) {
	_, _, answer := s.call("token", form("grant_type", "client_credentials"), basic("rs256"))
	header, _ := s.response(answer["access_token"].(string))
	if header.Algorithm != jose.RS256 || !s.active(answer["access_token"]) {
		t.Errorf("%+v", header)
	}
}

func accessClaims(t *testing.T, s *server) {
	for name, token := range map[string]any{"a client's": s.clientToken("orders:write"), "a person's": s.tokens(t, "app", "openid orders:read")["access_token"]} {
		claims := claimsOf(t, token)
		for _, claim := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"} {
			if v := claims[claim]; v == nil || v == "" || v == 0.0 {
				t.Errorf("%s: %s is %v", name, claim, v)
			}
		}
		if claims["exp"].(float64) <= claims["iat"].(float64) {
			t.Errorf("%s: %v", name, claims)
		}
	}
}

func jtisDiffer(t *testing.T, s *server) {
	if one, two := claimsOf(t, s.clientToken(""))["jti"], claimsOf(t, s.clientToken(""))["jti"]; one == two {
		t.Errorf("jti %v twice", one)
	}
}

func authenticationStays(t *testing.T, _ *server) {
	s := start(t)
	tokens := s.tokens(t, "app", "openid")
	s.clock.Add(int64(60e9))
	_, later := s.refreshed("app", tokens, nil)
	for _, name := range []string{"access_token", "id_token"} {
		before, after := claimsOf(t, tokens[name]), claimsOf(t, later[name])
		for _, claim := range []string{"auth_time", "acr", "sub", "sid"} {
			if before[claim] == nil || before[claim] != after[claim] {
				t.Errorf("%s of the %s was %v, is %v", claim, name, before[claim], after[claim])
			}
		}
	}
}

func idTokenIsNoAccessToken(t *testing.T, s *server) {
	tokens := s.tokens(t, "app", "openid")
	for _, name := range []string{"id_token", "refresh_token"} {
		if resp := s.get("userinfo", bearer(tokens[name])); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}

// otherIssuers: a realm's token is good in no other, whose clients and people
// have the same names.
func otherIssuers(t *testing.T, s *server) {
	access := s.tokens(t, "app", "openid")["access_token"]
	file := demoRealm()
	file.Realm = "other-9068"
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if resp := s.get("../../../other-9068/protocol/openid-connect/userinfo", bearer(access)); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d", resp.StatusCode)
	}
}

func clientsAreNobody(t *testing.T, s *server) {
	client, person := claimsOf(t, s.clientToken(""))["sub"], claimsOf(t, s.tokens(t, "app", "openid")["access_token"])["sub"]
	if client == person || client == "svc" || client == "alice" {
		t.Errorf("sub %v and %v", client, person)
	}
}

func scopeBoundsClaims(t *testing.T, s *server) {
	wide := claimsOf(t, s.tokens(t, "app", "openid")["access_token"])
	_, _, answer := s.call("token", form("grant_type", "password", "username", "alice", "password", "pw"), basic("direct"))
	if narrow := claimsOf(t, answer["access_token"]); wide["email"] != "alice@example.com" || narrow["email"] != nil || narrow["name"] != wide["name"] {
		t.Errorf("with scope email %v, with profile alone %v", wide, narrow)
	}
}
