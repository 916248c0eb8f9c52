package issuer_test

import (
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/revocation"
)

const (
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessType    = "urn:ietf:params:oauth:token-type:access_token"
	idType        = "urn:ietf:params:oauth:token-type:id_token"
)

// startExchange is a server with front, whose tokens are for the API tx, which
// may exchange them for tokens of its own, which are for rs and gw.
func startExchange(t *testing.T) *server {
	s := start(t)
	no := false
	s.importMore(
		issuer.Client{ClientID: "front", Secret: "front-secret", RedirectURIs: []string{callback}, Audience: []string{"tx", "rs"}, OptionalClientScopes: []string{"offline_access"}},
		issuer.Client{
			ClientID: "tx", Secret: "tx-secret", StandardFlowEnabled: &no, Audience: []string{"rs", "gw", "https://api.example/"},
			DefaultClientScopes: []string{"profile"}, OptionalClientScopes: []string{"orders:read", "offline_access"},
			Attributes: map[string]string{"standard.token.exchange.enabled": "true"},
		},
		issuer.Client{ClientID: "tx-other", Secret: "tx-other-secret", StandardFlowEnabled: &no, Attributes: map[string]string{"standard.token.exchange.enabled": "true"}},
		issuer.Client{ClientID: "tx-public", PublicClient: true, RedirectURIs: []string{callback}, Attributes: map[string]string{"standard.token.exchange.enabled": "true"}},
	)
	return s
}

// front logs alice in at client front.
func (s *server) front(t *testing.T) map[string]any {
	t.Helper()
	status, answer := s.post("token", "front", "front-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {newBrowser(t, s).login("front", "alice", "openid")},
		"redirect_uri": {callback}, "code_verifier": {verifier},
	})
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	return answer
}

// exchange asks as a client; change is laid over a good form.
func (s *server) exchange(clientID string, subject any, change map[string]string) (int, map[string]any) {
	s.t.Helper()
	form := url.Values{"grant_type": {exchangeGrant}, "subject_token": {subject.(string)}, "subject_token_type": {accessType}}
	for name, value := range change {
		form.Set(name, value)
	}
	if clientID == "tx-public" {
		form.Set("client_id", clientID)
		return s.post("token", "", "", form)
	}
	return s.post("token", clientID, clientID+"-secret", form)
}

// TestTokenExchange gives a token in the same session (RFC 8693 §2.2.1,
// keycloak-facts/05).
func TestTokenExchange(t *testing.T) {
	t.Parallel()
	s := startExchange(t)
	subject := s.front(t)
	from := claimsOf(t, subject["access_token"])
	status, answer := s.exchange("tx", subject["access_token"], map[string]string{"scope": "orders:read offline_access"})
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	want := map[string]any{
		"access_token": answer["access_token"], "expires_in": answer["expires_in"], "refresh_expires_in": 0.0, "token_type": "Bearer",
		"not-before-policy": 0.0, "session_state": from["sid"], "scope": "profile orders:read", "issued_token_type": accessType,
	}
	if !maps.Equal(answer, want) {
		t.Errorf("answer %v, want %v", answer, want)
	}
	claims := claimsOf(t, answer["access_token"])
	for name, want := range map[string]any{"azp": "tx", "sub": from["sub"], "sid": from["sid"], "typ": "Bearer", "preferred_username": "alice"} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if id := claims["jti"].(string); id[:7] != "ntrtte:" {
		t.Errorf("jti %s", id)
	}
	if claims["exp"].(float64) > from["exp"].(float64) {
		t.Errorf("the new token ends at %v, after the old, at %v", claims["exp"], from["exp"])
	}
	if !s.active(answer["access_token"]) {
		t.Error("the new token is not active")
	}

	_, narrow := s.exchange("tx", subject["access_token"], map[string]string{"audience": "gw", "requested_token_type": accessType})
	if aud := claimsOf(t, narrow["access_token"])["aud"]; aud != "gw" {
		t.Errorf("aud %v, want gw alone", aud)
	}
	_, again := s.exchange("tx", answer["access_token"], map[string]string{"audience": "rs"})
	if aud := claimsOf(t, again["access_token"])["aud"]; aud != "rs" {
		t.Errorf("its own token, narrowed: aud %v", aud)
	}
	_, id := s.exchange("tx", subject["access_token"], map[string]string{"requested_token_type": idType})
	if claims := claimsOf(t, id["access_token"]); id["token_type"] != "N_A" || id["issued_token_type"] != idType || id["id_token"] != nil ||
		claims["typ"] != "ID" || claims["aud"] != "tx" || claims["sub"] != from["sub"] {
		t.Errorf("ID token: %v %v", id, claims)
	}

	if status, _ := s.post("revoke", "front", "front-secret", url.Values{"token": {subject["refresh_token"].(string)}}); status != http.StatusOK {
		t.Fatalf("revocation: %d", status)
	}
	if status, answer := s.exchange("tx", subject["access_token"], nil); status != http.StatusBadRequest || answer["error_description"] != "Invalid token" {
		t.Errorf("a token of a client that has left the session: %d %v", status, answer)
	}
}

// TestTargetsOfAnExchange: audiences and resources may be repeated, and all of
// them are meant (RFC 8693 §2.1).
func TestTargetsOfAnExchange(t *testing.T) {
	t.Parallel()
	s := startExchange(t)
	subject := s.front(t)["access_token"].(string)
	ask := func(more url.Values) (int, map[string]any) {
		form := url.Values{"grant_type": {exchangeGrant}, "subject_token": {subject}, "subject_token_type": {accessType}}
		maps.Copy(form, more)
		return s.post("token", "tx", "tx-secret", form)
	}
	for name, tt := range map[string]struct {
		target url.Values
		want   any
	}{
		"two audiences":  {url.Values{"audience": {"gw", "rs"}}, []any{"gw", "rs"}},
		"one, twice":     {url.Values{"audience": {"gw", "gw"}}, "gw"},
		"a resource":     {url.Values{"resource": {"https://api.example/"}}, "https://api.example/"},
		"one of each":    {url.Values{"audience": {"rs"}, "resource": {"https://api.example/"}}, []any{"rs", "https://api.example/"}},
		"without values": {url.Values{"audience": {""}, "resource": {""}}, []any{"rs", "gw", "https://api.example/"}},
	} {
		_, answer := ask(tt.target)
		if answer["access_token"] == nil {
			t.Errorf("%s: %v", name, answer)
		} else if aud := claimsOf(t, answer["access_token"])["aud"]; !reflect.DeepEqual(aud, tt.want) {
			t.Errorf("%s: aud %v, want %v", name, aud, tt.want)
		}
	}
	for name, tt := range map[string]struct {
		target url.Values
		code   string
		want   string
	}{
		"one nobody knows":       {url.Values{"audience": {"rs", "nosuch"}}, "invalid_client", "Audience not found"},
		"two of others":          {url.Values{"audience": {"rs", "app", "svc"}}, "invalid_request", "Requested audience not available: app, svc"},
		"a client as a resource": {url.Values{"resource": {"rs"}}, "invalid_target", ""},
	} {
		status, answer := ask(tt.target)
		if said, _ := answer["error_description"].(string); status != http.StatusBadRequest || answer["error"] != tt.code || said != tt.want {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}

// TestExchangedTokensEndWithTheSession: the exchange opens none of its own.
func TestExchangedTokensEndWithTheSession(t *testing.T) {
	t.Parallel()
	s := startExchange(t)
	b := newBrowser(t, s)
	_, subject := s.post("token", "front", "front-secret", url.Values{
		"grant_type": {"authorization_code"}, "code": {b.login("front", "alice", "openid")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	_, answer := s.exchange("tx", subject["access_token"], nil)
	if !s.active(answer["access_token"]) {
		t.Fatal("the new token is not active")
	}
	if p := b.logout(url.Values{"id_token_hint": {subject["id_token"].(string)}}); p.status != http.StatusOK {
		t.Fatalf("logout: status %d", p.status)
	}
	if s.active(answer["access_token"]) {
		t.Error("the new token outlives the session")
	}
}

// TestTokenExchangeRefused (RFC 8693 §2.2.2; texts of Keycloak 26).
func TestTokenExchangeRefused(t *testing.T) {
	t.Parallel()
	s := startExchange(t)
	tokens := s.front(t)
	good := tokens["access_token"]
	revoked := s.front(t)["access_token"]
	if status, _ := s.post("revoke", "front", "front-secret", url.Values{"token": {revoked.(string)}}); status != http.StatusOK {
		t.Fatalf("revocation: %d", status)
	}
	with := func(pairs ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for name, tt := range map[string]struct {
		client  string
		subject any
		change  map[string]string
		status  int
		code    string
		want    string
	}{
		"not enabled":               {"app", good, nil, 400, "invalid_request", "Standard token exchange is not enabled for the requested client"},
		"a public client":           {"tx-public", good, nil, 400, "invalid_request", "Public client is not allowed to exchange token"},
		"no subject_token (§2.1)":   {"tx", good, with("subject_token", ""), 400, "invalid_request", "Parameter 'subject_token' required for standard token exchange"},
		"no type (§2.1)":            {"tx", good, with("subject_token_type", ""), 400, "invalid_request", "Parameter 'subject_token_type' required for standard token exchange"},
		"an ID token as subject":    {"tx", tokens["id_token"], with("subject_token_type", idType), 400, "invalid_request", "Parameter 'subject_token' supports access tokens only"},
		"an ID token, disguised":    {"tx", tokens["id_token"], nil, 400, "invalid_request", "Invalid token"},
		"a refresh token":           {"tx", tokens["refresh_token"], nil, 400, "invalid_request", "Invalid token"},
		"garbage":                   {"tx", "x.y.z", nil, 400, "invalid_request", "Invalid token"},
		"revoked":                   {"tx", revoked, nil, 400, "invalid_request", "Invalid token"},
		"a client's own token":      {"tx", s.clientToken(""), nil, 403, "access_denied", "Client is not within the token audience"},
		"not the audience":          {"tx-other", good, nil, 403, "access_denied", "Client is not within the token audience"},
		"an actor without a type":   {"tx", good, with("actor_token", "x"), 400, "invalid_request", "Parameter 'actor_token_type' required"},
		"a type without an actor":   {"tx", good, with("actor_token_type", accessType), 400, "invalid_request", "Parameter 'actor_token_type' without 'actor_token'"},
		"an ID token as actor":      {"tx", good, with("actor_token", "x", "actor_token_type", idType), 400, "invalid_request", "Parameter 'actor_token_type' supports access tokens only"},
		"an actor of garbage":       {"tx", good, with("actor_token", "x", "actor_token_type", accessType), 400, "invalid_request", "Invalid actor token"},
		"a person as actor":         {"tx", good, with("actor_token", good.(string), "actor_token_type", accessType), 400, "invalid_request", "Invalid actor token"},
		"somebody else as actor":    {"tx", good, with("actor_token", s.clientToken(""), "actor_token_type", accessType), 400, "invalid_request", "Invalid actor token"},
		"resource of others (§2.1)": {"tx", good, with("resource", "https://api.example"), 400, "invalid_target", ""},
		"audience nobody knows":     {"tx", good, with("audience", "nosuch"), 400, "invalid_client", "Audience not found"},
		"audience that is disabled": {"tx", good, with("audience", "off"), 400, "invalid_client", "Audience not found"},
		"audience of others":        {"tx", good, with("audience", "app"), 400, "invalid_request", "Requested audience not available: app"},
		"for a refresh token":       {"tx", good, with("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), 400, "invalid_request", "requested_token_type unsupported"},
		"scope of others":           {"tx", good, with("scope", "orders:write"), 400, "invalid_scope", "Invalid scopes: orders:write"},
	} {
		status, answer := s.exchange(tt.client, tt.subject, tt.change)
		if said, _ := answer["error_description"].(string); status != tt.status || answer["error"] != tt.code || said != tt.want {
			t.Errorf("%s: %d %v, want %d %s %q", name, status, answer, tt.status, tt.code, tt.want)
		}
	}
	s.clock.Add(int64(10 * time.Minute))
	if status, answer := s.exchange("tx", good, nil); status != http.StatusBadRequest || answer["error_description"] != "Invalid token" {
		t.Errorf("expired: %d %v", status, answer)
	}
}

// startAccounts is a server with robot, whose own tokens are for the APIs tx and
// tx2, which may exchange them.
func startAccounts(t *testing.T) *server {
	s := start(t)
	file := demoRealm()
	robot, tx, tx2 := service("robot", nil), service("tx", nil), service("tx2", nil)
	robot.Audience = []string{"tx", "rs"}
	tx.Audience, tx2.Audience = []string{"tx2", "rs"}, []string{"rs"}
	for _, c := range []*issuer.Client{&tx, &tx2} {
		c.Attributes = map[string]string{"standard.token.exchange.enabled": "true"}
		c.OptionalClientScopes = []string{"orders:read", "offline_access"}
	}
	front := issuer.Client{ClientID: "front", Secret: "front-secret", RedirectURIs: []string{callback}, Audience: []string{"tx"}}
	file.Roles.Realm = []issuer.Role{{Name: "cleaner"}}
	file.Users = append(file.Users, issuer.User{Username: "service-account-robot", ServiceAccountClientID: "robot", RealmRoles: []string{"cleaner"}})
	file.Clients = append(file.Clients, robot, tx, tx2, front)
	s.file = file
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	return s
}

// own is a token that a client gets for itself.
func (s *server) own(clientID string) any {
	s.t.Helper()
	status, answer := s.post("token", clientID, clientID+"-secret", url.Values{"grant_type": {"client_credentials"}})
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %v", clientID, status, answer)
	}
	return answer["access_token"]
}

// dead reports whether a token is dead on the stream.
func (s *server) dead(accessToken any) bool {
	s.t.Helper()
	set := revocation.NewSet()
	records, head, err := s.db.Since(s.t.Context(), 0, 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	set.Apply(records, head)
	c := claimsOf(s.t, accessToken)
	session, _ := c["sid"].(string)
	view := set.Begin()
	defer view.End()
	_, dead := view.Revoked(revocation.Token{
		Issuer: c["iss"].(string), ID: c["jti"].(string), Session: session, Subject: c["sub"].(string), Client: c["azp"].(string),
		Rev: revocation.Revision(c["rev"].(float64)), HasRev: true,
	})
	return dead
}

// TestAServiceAccountsTokenIsExchanged for one about the same account (RFC 8693
// §2.2.1), again and again.
func TestAServiceAccountsTokenIsExchanged(t *testing.T) {
	t.Parallel()
	s := startAccounts(t)
	from := s.own("robot")
	status, answer := s.exchange("tx", from, map[string]string{"scope": "orders:read offline_access"})
	if status != http.StatusOK || answer["refresh_token"] != nil || answer["session_state"] != nil || answer["issued_token_type"] != accessType || answer["scope"] != "orders:read" {
		t.Fatalf("%d %v", status, answer)
	}
	old, claims := claimsOf(t, from), claimsOf(t, answer["access_token"])
	for name, want := range map[string]any{
		"azp": "tx", "sub": old["sub"], "sid": nil, "preferred_username": "service-account-robot", "act": nil,
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if id := claims["jti"].(string); id[:7] != "trrtte:" || claims["exp"].(float64) > old["exp"].(float64) {
		t.Errorf("jti %s, exp %v of %v", id, claims["exp"], old["exp"])
	}
	_, about := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {answer["access_token"].(string)}})
	if about["active"] != true || about["username"] != "service-account-robot" || about["sub"] != old["sub"] || about["client_id"] != "tx" {
		t.Errorf("introspection: %v", about)
	}
	_, again := s.exchange("tx2", answer["access_token"], map[string]string{"audience": "rs"})
	if claims := claimsOf(t, again["access_token"]); claims["sub"] != old["sub"] || claims["azp"] != "tx2" || claims["aud"] != "rs" {
		t.Errorf("the next: %v", claims)
	}
	if status, answer := s.exchange("tx", from, map[string]string{"requested_token_type": idType}); status != http.StatusBadRequest {
		t.Errorf("an ID token about nobody: %d %v", status, answer)
	}
	if status, answer := s.exchange("tx2", from, nil); status != http.StatusForbidden {
		t.Errorf("by one that it is not for: %d %v", status, answer)
	}
	s.clock.Add(int64(4 * time.Minute))
	_, late := s.exchange("tx", from, nil)
	if exp := claimsOf(t, late["access_token"])["exp"].(float64); exp > old["exp"].(float64) {
		t.Errorf("the new one ends at %v, the old at %v", exp, old["exp"])
	}
}

// TestExchangedTokensOfAServiceAccountDie with it and with whom they were given
// to, at introspection and on the stream.
func TestExchangedTokensOfAServiceAccountDie(t *testing.T) {
	t.Parallel()
	for _, kill := range []string{"robot", "tx", "tx2"} {
		t.Run(kill, func(t *testing.T) {
			t.Parallel()
			s := startAccounts(t)
			_, first := s.exchange("tx", s.own("robot"), nil)
			_, then := s.exchange("tx2", first["access_token"], nil)
			s.enable(kill, false)
			for name, tt := range map[string]struct {
				token any
				dead  bool
			}{
				"of tx":  {first["access_token"], kill != "tx2"},
				"of tx2": {then["access_token"], kill != "tx"},
			} {
				if s.active(tt.token) == tt.dead || s.dead(tt.token) != tt.dead {
					t.Errorf("%s: active %v, dead on the stream %v", name, s.active(tt.token), s.dead(tt.token))
				}
			}
			s.enable(kill, true)
			if _, answer := s.exchange("tx", s.own("robot"), nil); !s.active(answer["access_token"]) || s.dead(answer["access_token"]) {
				t.Errorf("after it is enabled again: %v", answer)
			}
		})
	}
}

// enable switches a client.
func (s *server) enable(clientID string, on bool) {
	s.t.Helper()
	for i := range s.file.Clients {
		if s.file.Clients[i].ClientID == clientID {
			s.file.Clients[i].Enabled = &on
		}
	}
	if err := s.iss.Import(s.t.Context(), s.file); err != nil {
		s.t.Fatal(err)
	}
}

// TestDelegation: who exchanges a token with an actor_token of its own is named
// in it, and inside whoever acted before (RFC 8693 §4.1).
func TestDelegation(t *testing.T) {
	t.Parallel()
	s := startAccounts(t)
	by := func(clientID string) map[string]string {
		return map[string]string{"actor_token": s.own(clientID).(string), "actor_token_type": accessType}
	}
	id := func(clientID string) any { return claimsOf(t, s.own(clientID))["sub"] }
	_, first := s.exchange("tx", s.front(t)["access_token"], by("tx"))
	_, then := s.exchange("tx2", first["access_token"], by("tx2"))
	_, plain := s.exchange("tx2", first["access_token"], nil)
	_, robots := s.exchange("tx", s.own("robot"), by("tx"))
	one := map[string]any{"sub": id("tx"), "client_id": "tx"}
	two := map[string]any{"sub": id("tx2"), "client_id": "tx2", "act": one}
	for name, tt := range map[string]struct {
		answer map[string]any
		want   any
	}{
		"the first":                          {first, one},
		"the second, for the first":          {then, two},
		"an exchange does not hide an actor": {plain, one},
		"for a service account":              {robots, one},
	} {
		if tt.answer["access_token"] == nil {
			t.Errorf("%s: %v", name, tt.answer)
			continue
		}
		_, about := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {tt.answer["access_token"].(string)}})
		if act := claimsOf(t, tt.answer["access_token"])["act"]; !reflect.DeepEqual(act, tt.want) || !reflect.DeepEqual(about["act"], tt.want) {
			t.Errorf("%s: act %v, introspected %v, want %v", name, act, about["act"], tt.want)
		}
	}
	gone := by("tx")
	s.post("revoke", "tx", "tx-secret", url.Values{"token": {gone["actor_token"]}})
	if status, answer := s.exchange("tx", s.front(t)["access_token"], gone); status != http.StatusBadRequest || answer["error_description"] != "Invalid actor token" {
		t.Errorf("a revoked actor: %d %v", status, answer)
	}
	chain := first
	for n := range 12 {
		status, answer := s.exchange("tx2", chain["access_token"], merge(by("tx2"), "audience", ""))
		if status != http.StatusOK {
			if n != 7 || answer["error_description"] != "Too many have acted" {
				t.Errorf("round %d: %d %v", n, status, answer)
			}
			return
		}
		chain = answer
	}
	t.Error("the chain has no end")
}

func merge(m map[string]string, name, value string) map[string]string {
	m[name] = value
	return m
}
