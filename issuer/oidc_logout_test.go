package issuer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tegata/tegata/issuer"
)

// TestRPInitiatedLogout is OpenID Connect RP-Initiated Logout 1.0.
func TestRPInitiatedLogout(t *testing.T) {
	prove(t, []rule{
		{"2", "GET and POST are supported", by(TestLogoutWithAHintEndsTheSessionOfAllClients, TestLogoutByPostedForm)},
		{"2", "an ID token that has expired is still a hint", by(TestLogoutWithAnExpiredHint)},
		{"2", "client_id is the hint's", by(TestLogoutErrorsEndNothing)},
		{"2", "a hint that we did not issue is refused", foreignHint},
		{"2", "without a hint the person is asked first", by(TestLogoutWithoutAHintAsksFirst)},
		{"2", "a hint of somebody else's ends nobody's session here", by(TestSomebodyElsesHintDoesNotLogMeOut)},
		{"2", "ui_locales, logout_hint and unknown parameters are no errors", logoutExtras},
		{"2", "the session has ended, and its cookie", by(TestLogoutWithAHintEndsTheSessionOfAllClients)},
		{"2.1", "discovery says where", announces("end_session_endpoint")},
		{"3", "post_logout_redirect_uri is followed if it is registered exactly", by(TestLogoutErrorsEndNothing)},
		{"3", "it is not followed without knowing whose it is", by(TestLogoutErrorsEndNothing)},
		{"3", "state comes back", by(TestStateJoinsTheQueryOfALogoutRedirect, TestLogoutWithAHintEndsTheSessionOfAllClients)},
		{"3", "a hint of a session that is over leads on all the same", logoutTwice},
		{"4", "the redirect comes after the session's end", by(TestLogoutWithAHintEndsTheSessionOfAllClients)},
		{"6", "a logout is not forged by another site", by(TestLogoutConfirmedByAnotherSite)},
	})
}

func foreignHint(t *testing.T, s *server) {
	other := start(t)
	hint := other.tokens(t, "app", "openid")["id_token"].(string)
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	p := b.logout(url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {callback}})
	if p.status != http.StatusBadRequest || p.location != nil || !s.active(tokens["access_token"]) {
		t.Errorf("%d %v", p.status, p.location)
	}
}

func logoutExtras(t *testing.T, s *server) {
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	p := b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}, "ui_locales": {"ja"}, "logout_hint": {"x"}, "frob": {"nicate"}})
	if p.status != http.StatusOK || s.active(tokens["access_token"]) {
		t.Errorf("%d", p.status)
	}
}

func logoutTwice(t *testing.T, s *server) {
	b := newBrowser(t, s)
	query := url.Values{"id_token_hint": {s.redeem(b.login("app", "alice", "openid"))["id_token"].(string)}, "post_logout_redirect_uri": {callback}, "state": {"x"}}
	for range 2 {
		if p := b.logout(query); p.status != http.StatusFound || p.location.String() != callback+"?state=x" {
			t.Errorf("%d %v", p.status, p.location)
		}
	}
}

// TestBackChannel is OpenID Connect Back-Channel Logout 1.0 (with errata set 1).
func TestBackChannel(t *testing.T) {
	prove(t, []rule{
		{"2.1", "discovery says so", announcesBackChannel},
		{"2.2", "a logout URL has no fragment", logoutURLs("backchannel.logout.url")},
		{"2.4", "a logout token has iss, aud, iat, exp, jti, events, and sub or sid", by(TestBackChannelLogout)},
		{"2.4", "it has sid where the client asked for it", by(TestBackChannelLogout, TestALogoutIsToldAsTheClientAsked)},
		{"2.4", "it has no nonce", by(TestBackChannelLogout)},
		{"2.4", "its typ is logout+jwt, and it ends soon", by(TestBackChannelLogout)},
		{"2.4", "it is signed, with the algorithm of the client's ID tokens", by(TestALogoutIsToldAsTheClientAsked)},
		{"2.5", "it is posted as a form", by(TestBackChannelLogout)},
		{"2.5", "all clients of the session hear of it", by(TestOneClientDoesNotHoldUpAnother)},
		{"2.5", "a client that does not answer is told again", by(TestBackChannelLogout)},
		{"2.7", "refresh tokens without offline_access end with the session, others do not", by(TestOfflineAccess)},
		{"2.8", "200 and 204 are a yes, 400 is a no that is not asked again", by(TestBackChannelLogout)},
		{"4.1", "a logout token is no other token", logoutTokenOpensNothing},
	})
}

func announcesBackChannel(t *testing.T, s *server) {
	document := s.metadata()
	for _, name := range []string{"backchannel_logout_supported", "backchannel_logout_session_supported", "frontchannel_logout_supported", "frontchannel_logout_session_supported"} {
		if document[name] != true {
			t.Errorf("%s is %v", name, document[name])
		}
	}
}

// logoutURLs refuses, when a realm file is imported, URLs that no logout can be
// told to.
func logoutURLs(attribute string) proof {
	return func(t *testing.T, s *server) {
		for _, uri := range []string{"https://app.example/out#f", "app.example/out", "javascript:alert(1)"} {
			file := demoRealm()
			file.Realm = "logout-urls"
			file.Clients[0].FrontchannelLogout = true
			file.Clients[0].Attributes = map[string]string{attribute: uri}
			if err := s.iss.Import(t.Context(), file); err == nil {
				t.Errorf("%s was taken", uri)
			}
		}
	}
}

func logoutTokenOpensNothing(t *testing.T, _ *server) {
	s := start(t)
	rp := listen(t, http.StatusOK)
	s.change("app", attributes("backchannel.logout.url", rp.URL))
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}})
	told := rp.next(t)
	if s.active(told) {
		t.Error("introspection takes it")
	}
	if resp := s.get("userinfo", bearer(told)); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("UserInfo: %d", resp.StatusCode)
	}
	if p := b.logout(url.Values{"id_token_hint": {told}}); p.status != http.StatusBadRequest {
		t.Errorf("as a hint: %d", p.status)
	}
	if status, answer := s.refreshed("app", map[string]any{"refresh_token": told}, nil); status != http.StatusBadRequest {
		t.Errorf("as a refresh token: %d %v", status, answer)
	}
}

// TestFrontChannel is OpenID Connect Front-Channel Logout 1.0.
func TestFrontChannel(t *testing.T) {
	prove(t, []rule{
		{"2", "each client of the session is loaded in a frame", by(TestFrontChannelLogout)},
		{"2", "iss and sid are there where the client asked for them", by(TestFrontChannelLogout)},
		{"2", "iss and sid are not there where it did not", frontWithoutSession},
		{"2", "a logout URL has no fragment", logoutURLs("frontchannel.logout.url")},
		{"3", "discovery says so", announcesBackChannel},
		{"3", "sid is that of the ID token", by(TestFrontChannelLogout)},
		{"4", "a client that did not log in is not told", frontOfOthers},
	})
}

func frontWithoutSession(t *testing.T, _ *server) {
	s := start(t)
	s.change("app", func(c *issuer.Client) {
		c.FrontchannelLogout = true
		attributes("frontchannel.logout.url", "https://app.example/out", "frontchannel.logout.session.required", "false")(c)
	})
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	if p := b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}}); !strings.Contains(p.body, `<iframe src="https://app.example/out"`) {
		t.Errorf("%d\n%s", p.status, p.body)
	}
}

func frontOfOthers(t *testing.T, _ *server) {
	s := start(t)
	s.change("app2", func(c *issuer.Client) {
		c.FrontchannelLogout = true
		attributes("frontchannel.logout.url", "https://app2.example/out")(c)
	})
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	if p := b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}}); strings.Contains(p.body, "app2.example") {
		t.Errorf("%d\n%s", p.status, p.body)
	}
}
