package issuer_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/receiver"
	"github.com/tegata/tegata/issuer/signals"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/ssf"
)

// signalling is the demo realm with a client, svc, that may have event streams,
// and another, direct, that may have some too.
func signalling() issuer.Realm {
	file := demoRealm()
	file.ClientScopes = append(file.ClientScopes, issuer.ClientScope{Name: signals.Manage}, issuer.ClientScope{Name: signals.Read})
	for i := range file.Clients {
		if c := &file.Clients[i]; c.ClientID == "svc" || c.ClientID == "direct" {
			c.ServiceAccountsEnabled = true
			c.OptionalClientScopes = append(c.OptionalClientScopes, signals.Manage, signals.Read)
		}
	}
	return file
}

func startSignals(t *testing.T) *server {
	t.Helper()
	s := start(t)
	s.file = signalling()
	if err := s.iss.Import(t.Context(), s.file); err != nil {
		t.Fatal(err)
	}
	return s
}

// ssf is a request of a client's at the realm's endpoints.
func (s *server) ssf(token, method, path, body string) (int, map[string]any) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.base+"/realms/demo/ssf/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var answer map[string]any
	if len(text) > 0 && text[0] == '{' {
		if err := json.Unmarshal(text, &answer); err != nil {
			s.t.Fatalf("%s: %v", text, err)
		}
	} else if len(text) > 0 {
		answer = map[string]any{"list": strings.TrimSpace(string(text))}
	}
	return resp.StatusCode, answer
}

// TestEventStreamsAreTheirClients: SSF 1.0 §7.1, §8.1.1, §8.1.2.
func TestEventStreamsAreTheirClients(t *testing.T) {
	t.Parallel()
	s := startSignals(t)
	realm := s.base + "/realms/demo"
	for _, path := range []string{"/realms/demo/.well-known/ssf-configuration", "/.well-known/ssf-configuration/realms/demo"} {
		resp, err := http.Get(s.base + path)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		err = json.NewDecoder(resp.Body).Decode(&m)
		_ = resp.Body.Close()
		if err != nil || m["issuer"] != realm || m["configuration_endpoint"] != realm+"/ssf/streams" || m["spec_version"] != "1_0" || m["add_subject_endpoint"] != nil {
			t.Errorf("%s: %v %v", path, m, err)
		}
	}
	manage, read := s.clientToken(signals.Manage), s.clientToken(signals.Read)
	_, answer := s.post("token", "direct", "direct-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {signals.Manage}})
	other := answer["access_token"].(string)

	if status, list := s.ssf(read, http.MethodGet, "streams", ""); status != 200 || list["list"] != "[]" {
		t.Errorf("before: %d %v", status, list)
	}
	body := fmt.Sprintf(`{"delivery":{"method":%q,"endpoint_url":"https://rp.example/events","authorization_header":"Bearer x"},"events_requested":[%q,"https://example.com/other"],"format":"x","description":"mine"}`, ssf.DeliveryPush, ssf.SessionRevoked)
	if status, _ := s.ssf(read, http.MethodPost, "streams", body); status != http.StatusForbidden {
		t.Errorf("made with ssf.read: %d", status)
	}
	status, made := s.ssf(manage, http.MethodPost, "streams", body)
	id, _ := made["stream_id"].(string)
	if status != http.StatusCreated || id == "" || made["iss"] != realm || made["aud"] != "svc" || fmt.Sprint(made["events_delivered"]) != "["+ssf.SessionRevoked+"]" ||
		made["delivery"].(map[string]any)["endpoint_url"] != "https://rp.example/events" || strings.Contains(fmt.Sprint(made), "Bearer x") {
		t.Fatalf("made: %d %v", status, made)
	}
	for _, step := range []struct {
		what, token, method, path, body string
		status                          int
		member, want                    string
	}{
		{"a second", manage, "POST", "streams", body, 409, "error", "conflict"},
		{"read", read, "GET", "streams?stream_id=" + id, "", 200, "description", "mine"},
		{"another's", other, "GET", "streams?stream_id=" + id, "", 404, "error", "not_found"},
		{"another's, changed", other, "PATCH", "streams", `{"stream_id":"` + id + `"}`, 404, "error", "not_found"},
		{"another's, deleted", other, "DELETE", "streams?stream_id=" + id, "", 404, "error", "not_found"},
		{"another's, verified", other, "POST", "verify", `{"stream_id":"` + id + `"}`, 404, "error", "not_found"},
		{"not its own", manage, "PATCH", "streams", `{"stream_id":"other"}`, 404, "error", "not_found"},
		{"not its own, verified", manage, "POST", "verify", `{"stream_id":"other"}`, 404, "error", "not_found"},
		{"another's, polled", other, "POST", "poll/" + id, `{"returnImmediately":true}`, 404, "error", "not_found"},
		{"polled, but it is pushed", read, "POST", "poll/" + id, `{"returnImmediately":true}`, 404, "error", "not_found"},
		{"patched", manage, "PATCH", "streams", `{"stream_id":"` + id + `","events_requested":[]}`, 200, "events_delivered", "[]"},
		{"the rest stayed", read, "GET", "streams?stream_id=" + id, "", 200, "description", "mine"},
		{"replaced", manage, "PUT", "streams", `{"stream_id":"` + id + `","events_requested":["` + ssf.CredentialChange + `"]}`, 200, "delivery", "map[endpoint_url:" + realm + "/ssf/poll/" + id + " method:" + ssf.DeliveryPoll + "]"},
		{"without its id", manage, "PUT", "streams", `{}`, 400, "error", "invalid_request"},
		{"status", read, "GET", "status?stream_id=" + id, "", 200, "status", "enabled"},
		{"paused", manage, "POST", "status", `{"stream_id":"` + id + `","status":"paused","reason":"tired"}`, 200, "reason", "tired"},
		{"of one subject", manage, "POST", "status", `{"stream_id":"` + id + `","status":"disabled","subject":{"format":"opaque","id":"U"}}`, 400, "error", "invalid_request"},
		{"that of one subject", read, "GET", "status?stream_id=" + id + "&subject=x", "", 404, "error", "not_found"},
		{"no such status", manage, "POST", "status", `{"stream_id":"` + id + `","status":"asleep"}`, 400, "error", "invalid_request"},
		{"status with ssf.read", read, "POST", "status", `{"stream_id":"` + id + `","status":"enabled"}`, 403, "error", "insufficient_scope"},
		{"no such method", manage, "PATCH", "streams", `{"stream_id":"` + id + `","delivery":{"method":"mail"}}`, 400, "error", "invalid_request"},
		{"pushed in the open", manage, "PATCH", "streams", `{"stream_id":"` + id + `","delivery":{"method":"` + ssf.DeliveryPush + `","endpoint_url":"http://rp.example/"}}`, 400, "error", "invalid_request"},
		{"a header that is two", manage, "PATCH", "streams", `{"stream_id":"` + id + `","delivery":{"method":"` + ssf.DeliveryPush + `","endpoint_url":"https://rp.example/","authorization_header":"a\r\nb: c"}}`, 400, "error", "invalid_request"},
		{"no JSON", manage, "PATCH", "streams", `x`, 400, "error", "invalid_request"},
		{"of a wrong type", manage, "PATCH", "streams", `{"stream_id":7}`, 400, "error", "invalid_request"},
		{"no token", "x", "GET", "streams", "", 401, "error", "invalid_token"},
		{"deleted", manage, "DELETE", "streams?stream_id=" + id, "", 204, "error", "<nil>"},
		{"gone", read, "GET", "streams?stream_id=" + id, "", 404, "error", "not_found"},
	} {
		status, answer := s.ssf(step.token, step.method, step.path, step.body)
		if got := fmt.Sprint(answer[step.member]); status != step.status || got != step.want {
			t.Errorf("%s: %d %v, want %d %s %s", step.what, status, answer, step.status, step.member, step.want)
		}
	}
}

// pushed is what a receiver was posted.
type pushed struct{ set, authorization, media string }

// TestEventsArePushedUntilTheyAreTaken: RFC 8935 §2, and what each event of the
// realm says.
func TestEventsArePushedUntilTheyAreTaken(t *testing.T) {
	t.Parallel()
	s := startSignals(t)
	answers := []int{http.StatusServiceUnavailable, http.StatusAccepted}
	heard := make(chan pushed, 20)
	rp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		status := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		w.WriteHeader(status)
		heard <- pushed{string(body), req.Header.Get("Authorization"), req.Header.Get("Content-Type")}
	}))
	t.Cleanup(rp.Close)
	next := func() pushed {
		t.Helper()
		select {
		case p := <-heard:
			return p
		case <-time.After(20 * time.Second):
			t.Fatal("no event")
			return pushed{}
		}
	}
	manage := s.clientToken(signals.Manage)
	all, err := json.Marshal([]string{ssf.SessionRevoked, ssf.AccountDisabled, ssf.TokenClaimsChange, ssf.CredentialChange})
	if err != nil {
		t.Fatal(err)
	}
	status, made := s.ssf(manage, http.MethodPost, "streams", fmt.Sprintf(
		`{"delivery":{"method":%q,"endpoint_url":%q,"authorization_header":"Bearer agreed"},"events_requested":%s}`, ssf.DeliveryPush, rp.URL, all))
	if status != http.StatusCreated {
		t.Fatalf("%d %v", status, made)
	}
	id := made["stream_id"].(string)
	provider, err := oidc.NewProvider(t.Context(), s.base+"/realms/demo")
	if err != nil {
		t.Fatal(err)
	}
	read := func(p pushed) ssf.Token {
		t.Helper()
		if p.authorization != "Bearer agreed" || p.media != "application/secevent+jwt" {
			t.Errorf("posted as %q, %q", p.media, p.authorization)
		}
		if h, err := jose.ParseHeader(p.set); err != nil || h.Type != ssf.Type {
			t.Errorf("header %+v, %v", h, err)
		}
		if _, err := provider.Verifier(&oidc.Config{ClientID: "svc", SkipExpiryCheck: true}).Verify(t.Context(), p.set); err != nil {
			t.Errorf("others do not take it: %v", err)
		}
		_, payload, err := jose.Unverified(p.set)
		if err != nil {
			t.Fatal(err)
		}
		set, err := ssf.Read(payload)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}

	// Who does not answer well is told again, the same.
	if status, _ := s.ssf(manage, http.MethodPost, "verify", `{"stream_id":"`+id+`","state":"xyz"}`); status != http.StatusNoContent {
		t.Errorf("verify: %d", status)
	}
	first := read(next())
	s.clock.Add(int64(time.Minute))
	if err := s.iss.Sweep(t.Context()); err != nil { // wakes who delivers
		t.Fatal(err)
	}
	again := read(next())
	if first.ID != again.ID || again.Events[0].Type != ssf.Verification || again.Events[0].State != "xyz" || !again.IssuedAt.Equal(first.IssuedAt) {
		t.Errorf("verification: %+v, then %+v", first, again)
	}

	m := ssf.Mapping{Issuer: s.base + "/realms/demo"}
	wants := func(what string, kinds ...string) {
		t.Helper()
		var got []string
		for range kinds {
			p := next()
			set := read(p)
			_, payload, _ := jose.Unverified(p.set)
			if !strings.Contains(string(payload), `"reason_admin":{"en":"`) { // as the interoperability profile of CAEP has it
				t.Errorf("%s: no reason in %s", what, payload)
			}
			records, _ := m.Records(set.Events[0])
			for _, r := range records {
				got = append(got, fmt.Sprintf("%s %d", strings.TrimPrefix(set.Events[0].Type, "https://schemas.openid.net/secevent/"), r.Target.Kind))
			}
		}
		slices.Sort(got)
		slices.Sort(kinds)
		if !slices.Equal(got, kinds) {
			t.Errorf("%s: %q, want %q", what, got, kinds)
		}
	}
	b := newBrowser(t, s)
	tokens := s.redeem(b.login("app", "alice", "openid"))
	b.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}})
	wants("a logout", "caep/event-type/session-revoked 2")

	s.file.Users[0].LastName = "Okada"
	s.file.Users[0].Credentials[0].Value = "another"
	if err := s.iss.Import(t.Context(), s.file); err != nil {
		t.Fatal(err)
	}
	wants("a new name and password", "caep/event-type/token-claims-change 4", "caep/event-type/credential-change 4")
	no := false
	s.file.Users[0].Enabled = &no
	if err := s.iss.Import(t.Context(), s.file); err != nil {
		t.Fatal(err)
	}
	wants("disabled", "caep/event-type/session-revoked 4", "risc/event-type/account-disabled 4")
	if err := s.iss.Import(t.Context(), s.file); err != nil { // the same file changes nothing
		t.Fatal(err)
	}

	// Paused, events wait.
	if status, _ := s.ssf(manage, http.MethodPost, "status", `{"stream_id":"`+id+`","status":"paused"}`); status != http.StatusOK {
		t.Errorf("pause: %d", status)
	}
	if status, _ := s.ssf(manage, http.MethodPost, "verify", `{"stream_id":"`+id+`","state":"later"}`); status != http.StatusNoContent {
		t.Errorf("verify: %d", status)
	}
	if status, _ := s.ssf(manage, http.MethodPost, "status", `{"stream_id":"`+id+`","status":"enabled"}`); status != http.StatusOK {
		t.Errorf("go on: %d", status)
	}
	if set := read(next()); set.Events[0].State != "later" {
		t.Errorf("after the pause: %+v", set)
	}
}

// TestEventsArePolledUntilTheyAreAcknowledged: RFC 8936 §2.
func TestEventsArePolledUntilTheyAreAcknowledged(t *testing.T) {
	t.Parallel()
	s := startSignals(t)
	manage, read := s.clientToken(signals.Manage), s.clientToken(signals.Read)
	_, made := s.ssf(manage, http.MethodPost, "streams", `{"events_requested":["`+ssf.SessionRevoked+`"]}`)
	id := made["stream_id"].(string)
	poll := func(body string) (sets map[string]any, more bool) {
		t.Helper()
		status, answer := s.ssf(read, http.MethodPost, "poll/"+id, body)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %v", body, status, answer)
		}
		more, _ = answer["moreAvailable"].(bool)
		return answer["sets"].(map[string]any), more
	}
	if sets, _ := poll(`{"returnImmediately":true}`); len(sets) != 0 {
		t.Errorf("nothing happened: %v", sets)
	}
	waiting := make(chan int, 1)
	go func() {
		sets, _ := poll(`{"maxEvents":1}`) // waits for the first
		waiting <- len(sets)
	}()
	for range 2 {
		b := newBrowser(t, s)
		b.logout(url.Values{"id_token_hint": {s.redeem(b.login("app", "alice", "openid"))["id_token"].(string)}})
	}
	if n := <-waiting; n != 1 {
		t.Errorf("who waited got %d", n)
	}
	sets, more := poll(`{"maxEvents":1,"returnImmediately":true}`)
	if len(sets) != 1 || !more {
		t.Fatalf("%v, more: %t", sets, more)
	}
	var first string
	for first = range sets {
	}
	if again, _ := poll(`{"maxEvents":1,"returnImmediately":true}`); again[first] == nil {
		t.Error("what was not acknowledged is gone")
	}
	sets, more = poll(`{"ack":["` + first + `"],"returnImmediately":true}`)
	if len(sets) != 1 || more || sets[first] != nil {
		t.Errorf("after the acknowledgement: %v, more: %t", sets, more)
	}
	for second := range sets {
		if sets, _ := poll(`{"setErrs":{"` + second + `":{"err":"invalid_key","description":"x"}},"returnImmediately":true}`); len(sets) != 0 {
			t.Errorf("what cannot be used comes again: %v", sets)
		}
	}
	for what, body := range map[string]string{"less than none": `{"maxEvents":-1}`, "no JSON": `x`} {
		if status, _ := s.ssf(read, http.MethodPost, "poll/"+id, body); status != http.StatusBadRequest {
			t.Errorf("%s: %d", what, status)
		}
	}
}

// withToken shows a token on each request.
type withToken string

func (t withToken) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+string(t))
	return http.DefaultTransport.RoundTrip(req)
}

// TestOneTegataHearsAnother: transmitter and receiver understand each other, by
// push and by poll: a logout at one is a record at the other.
func TestOneTegataHearsAnother(t *testing.T) {
	t.Parallel()
	for name, method := range map[string]string{"push": ssf.DeliveryPush, "poll": ssf.DeliveryPoll} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startSignals(t)
			_, made := a.ssf(a.clientToken(signals.Manage), http.MethodPost, "streams", `{"events_requested":["`+ssf.SessionRevoked+`"]}`)
			id := made["stream_id"].(string)
			events := &receiver.Events{Audience: "svc"}
			if method == ssf.DeliveryPoll {
				events.Poll = &receiver.Poll{
					URL: made["delivery"].(map[string]any)["endpoint_url"].(string), HTTP: &http.Client{Transport: withToken(a.clientToken(signals.Read))},
				}
			} else {
				events.Authorization = "Bearer agreed"
			}
			b := startWith(t, nil, func(c *issuer.Config) {
				c.Receivers = []receiver.Source{{Name: "a", Issuer: a.base + "/realms/demo", MaxTokenLifetime: time.Hour, Events: events}}
			})
			if method == ssf.DeliveryPush {
				status, answer := a.ssf(a.clientToken(signals.Manage), http.MethodPatch, "streams", fmt.Sprintf(
					`{"stream_id":%q,"delivery":{"method":%q,"endpoint_url":%q,"authorization_header":"Bearer agreed"}}`, id, method, b.base+"/receivers/a/events"))
				if status != http.StatusOK {
					t.Fatalf("%d %v", status, answer)
				}
			}
			person := newBrowser(t, a)
			tokens := a.redeem(person.login("app", "alice", "openid"))
			person.logout(url.Values{"id_token_hint": {tokens["id_token"].(string)}})
			want := revocation.Target{Kind: revocation.KindSession, ID: tokens["session_state"].(string)}
			for begun := time.Now(); ; {
				records, _, err := b.db.Since(t.Context(), 0, 10)
				if err != nil {
					t.Fatal(err)
				}
				if len(records) == 1 && records[0].Target == want && records[0].Issuer == a.base+"/realms/demo" {
					break
				}
				if time.Since(begun) > 20*time.Second {
					t.Fatalf("not heard; the log: %+v", records)
				}
			}
		})
	}
}
