package issuer_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/watch"
)

// pairs is a server with three clients: two of one sector, one of another.
func pairs(t *testing.T) *server {
	t.Helper()
	s := start(t)
	if err := s.iss.Import(t.Context(), paired(func(*issuer.Realm) {})); err != nil {
		t.Fatal(err)
	}
	return s
}

func paired(change func(*issuer.Realm)) issuer.Realm {
	file := demoRealm()
	for id, sector := range map[string]string{"pair": "https://one.example/", "pair-too": "https://one.example/x", "pair-other": "https://two.example/"} {
		file.Clients = append(file.Clients, issuer.Client{
			ClientID: id, Secret: id + "-secret", RedirectURIs: []string{callback}, Audience: []string{"rs", "tx"},
			ProtocolMappers: []issuer.ProtocolMapper{{
				Name: "pairwise", ProtocolMapper: "oidc-sha256-pairwise-sub-mapper",
				Config: map[string]string{"sectorIdentifierUri": sector, "pairwiseSubAlgorithmSalt": "salt"},
			}},
		})
	}
	no := false
	file.Clients = append(file.Clients, issuer.Client{
		ClientID: "tx", Secret: "tx-secret", StandardFlowEnabled: &no, Audience: []string{"rs"},
		Attributes: map[string]string{"standard.token.exchange.enabled": "true"},
	})
	change(&file)
	return file
}

// TestASubjectIsKnownToItsSectorAlone: OpenID Connect Core §8, in every token
// and answer that a client can read.
func TestASubjectIsKnownToItsSectorAlone(t *testing.T) {
	t.Parallel()
	s := pairs(t)
	b := newBrowser(t, s)
	public := claimsOf(t, s.redeem(b.login("app", "alice", "openid"))["access_token"])["sub"]
	login := func(clientID string) map[string]any {
		return s.as(clientID, url.Values{"code": {b.login(clientID, "alice", "openid")}})
	}
	tokens := login("pair")
	sub := s.claims(tokens["id_token"])["sub"].(string)
	if too, other := s.claims(login("pair-too")["id_token"])["sub"], s.claims(login("pair-other")["id_token"])["sub"]; sub == public || too != sub || other == sub || other == public {
		t.Errorf("public %v; of one sector %v and %v, of another %v", public, sub, too, other)
	}
	refreshed := s.as("pair", url.Values{"refresh_token": {tokens["refresh_token"].(string)}})
	for _, answer := range []map[string]any{tokens, refreshed} {
		for _, kind := range []string{"access_token", "id_token", "refresh_token"} {
			claims := s.claims(answer[kind])
			encoded, err := json.Marshal(claims)
			if err != nil || claims["sub"] != sub || strings.Contains(string(encoded), public.(string)) {
				t.Errorf("%s: %s, %v", kind, encoded, err)
			}
		}
		info, _ := s.told(answer)
		_, about := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {answer["access_token"].(string)}})
		if info["sub"] != sub || info["email"] != "alice@example.com" || about["sub"] != sub || about["active"] != true {
			t.Errorf("UserInfo %v, introspection %v", info, about)
		}
	}

	// What was said of her comes back to us as a hint, or as a claim.
	for hint, want := range map[string]string{sub: "code", public.(string): "login_required: ", "x": "login_required: "} {
		query := askingClaims("pair", "openid", `{"id_token":{"sub":{"value":"`+hint+`"}}}`)
		query.Set("prompt", "none")
		if got := outcome(s, b.ask(query), "s"); got != want {
			t.Errorf("sub %s: %q, want %q", hint, got, want)
		}
	}
	query := authorize("pair", "openid")
	query.Set("prompt", "none")
	query.Set("id_token_hint", tokens["id_token"].(string))
	if got := outcome(s, b.ask(query), "s"); got != "code" {
		t.Errorf("with her ID token: %q", got)
	}

	// Who exchanges her token knows her by what it calls her itself.
	status, exchanged := s.exchange("tx", refreshed["access_token"], nil)
	if status != http.StatusOK || s.claims(exchanged["access_token"])["sub"] != public {
		t.Errorf("exchanged: %d %v", status, exchanged)
	}
}

// TestLogoutTokensNameASubjectAsIDTokensDo: Back-Channel Logout §2.4.
func TestLogoutTokensNameASubjectAsIDTokensDo(t *testing.T) {
	t.Parallel()
	s, l := pairs(t), listen(t, http.StatusOK)
	file := paired(func(file *issuer.Realm) {
		for i := range file.Clients {
			if file.Clients[i].ClientID == "pair" {
				file.Clients[i].Attributes = map[string]string{"backchannel.logout.url": l.URL}
			}
		}
	})
	if err := s.iss.Import(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	tokens := s.as("pair", url.Values{"code": {newBrowser(t, s).login("pair", "alice", "openid")}})
	s.post("logout", "pair", "pair-secret", url.Values{"refresh_token": {tokens["refresh_token"].(string)}})
	if got, want := claimsOf(t, l.next(t))["sub"], s.claims(tokens["id_token"])["sub"]; got != want {
		t.Errorf("sub %v, want %v", got, want)
	}
}

// watched is a set that follows the server.
func (s *server) watched(t *testing.T) *revocation.Set {
	t.Helper()
	set := revocation.NewSet()
	w, err := watch.NewWatcher(watch.WatcherConfig{Conns: []grpc.ClientConnInterface{authorized{s.serveWatch(t), bearerOf(s.clientToken(issuer.WatchScope))}}, Set: set, Node: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ran })
	<-w.Synced()
	return set
}

// revoked is what an enforcement point finds of an access token.
func (s *server) revoked(set *revocation.Set, accessToken any) bool {
	s.t.Helper()
	claims := s.claims(accessToken)
	view := set.Begin()
	defer view.End()
	_, dead := view.Revoked(revocation.Token{
		Issuer: s.base + "/realms/demo", ID: claims["jti"].(string), Session: claims["sid"].(string), Subject: claims["sub"].(string),
		Client: claims["azp"].(string), HasRev: true, Rev: revocation.Revision(claims["rev"].(float64)),
	})
	return dead
}

// TestWhatEndsAUserEndsPairwiseTokens: a record of the user says an id that is
// in none of them, and yet they die where there is nothing but the stream.
func TestWhatEndsAUserEndsPairwiseTokens(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *server, tokens map[string]any){
		"disabled": func(s *server, _ map[string]any) {
			no := false
			if err := s.iss.Import(s.t.Context(), paired(func(file *issuer.Realm) { file.Users[0].Enabled = &no })); err != nil {
				s.t.Fatal(err)
			}
			// Its answer waits until the watcher has all up to here.
			s.post("revoke", "svc", "svc-secret", url.Values{"token": {s.clientToken("")}})
		},
		"logged out": func(s *server, tokens map[string]any) {
			s.post("logout", "pair", "pair-secret", url.Values{"refresh_token": {tokens["refresh_token"].(string)}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pairs(t)
			set := s.watched(t)
			b := newBrowser(t, s)
			tokens := s.as("pair", url.Values{"code": {b.login("pair", "alice", "openid")}})
			too := s.as("pair-too", url.Values{"code": {b.login("pair-too", "alice", "openid")}})
			public := s.redeem(b.login("app", "alice", "openid"))
			all := []any{tokens["access_token"], too["access_token"], public["access_token"]}
			for _, token := range all {
				if s.revoked(set, token) || !s.active(token) {
					t.Fatal("dead before its time")
				}
			}
			end(s, tokens)
			for i, token := range all {
				if !s.revoked(set, token) || s.active(token) {
					t.Errorf("token %d: revoked %t, active %t", i, s.revoked(set, token), s.active(token))
				}
			}
			if status, answer := s.post("token", "pair", "pair-secret", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}); status == http.StatusOK {
				t.Errorf("refreshed: %v", answer)
			}
		})
	}
}

// TestASubjectOfAnotherIsNoSubject: a client that stops to know people by
// pairwise subjects, or changes its sector, has tokens of nobody it knows.
func TestASubjectOfAnotherIsNoSubject(t *testing.T) {
	t.Parallel()
	s := pairs(t)
	tokens := s.as("pair", url.Values{"code": {newBrowser(t, s).login("pair", "alice", "openid")}})
	if !s.active(tokens["access_token"]) {
		t.Fatal("not active")
	}
	if err := s.iss.Import(t.Context(), paired(func(file *issuer.Realm) {
		for i := range file.Clients {
			file.Clients[i].ProtocolMappers = nil
		}
	})); err != nil {
		t.Fatal(err)
	}
	if s.active(tokens["access_token"]) {
		t.Error("active under a name that nobody has")
	}
}
