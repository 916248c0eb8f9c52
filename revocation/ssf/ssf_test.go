package ssf_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/ssf"
)

const iss = "https://sso.example/realms/main"

func token(subject, event, body string) string {
	return fmt.Sprintf(`{"iss":%q,"jti":"J","iat":1000,"aud":"tegata","sub_id":%s,"events":{%q:%s}}`, iss, subject, event, body)
}

// TestWhatEventsRevoke: each type and each form of a subject.
func TestWhatEventsRevoke(t *testing.T) {
	t.Parallel()
	const (
		user    = `{"format":"iss_sub","iss":"` + iss + `","sub":"U"}`
		opaque  = `{"format":"opaque","id":"O"}`
		session = `{"format":"complex","session":{"format":"opaque","id":"S"},"user":` + user + `,"tenant":{"format":"opaque","id":"T"}}`
		email   = `{"format":"email","email":"alice@example.com"}`
	)
	for _, tt := range []struct {
		event, subject, body string
		change               func(*ssf.Mapping)
		want                 string
	}{
		{ssf.SessionRevoked, session, `{}`, nil, "session S 1000 logout"},
		{ssf.SessionRevoked, session, `{"event_timestamp":900}`, nil, "session S 900 logout"},
		{ssf.SessionRevoked, session, `{"event_timestamp":900000}`, nil, "session S 1000 logout"}, // never later than iat
		{ssf.SessionRevoked, session, `{}`, func(m *ssf.Mapping) { m.SessionAsSubject = true }, "subject U 1000 logout"},
		{ssf.SessionRevoked, `{"format":"complex","session":{"format":"opaque","id":"S"}}`, `{}`, func(m *ssf.Mapping) { m.SessionAsSubject = true }, "unmapped"},
		{ssf.SessionRevoked, `{"format":"complex","user":` + user + `,"device":{"format":"opaque","id":"D"}}`, `{}`, nil, "subject U 1000 logout"},
		{ssf.SessionRevoked, `{"user":` + user + `}`, `{}`, nil, "subject U 1000 logout"}, // drafts
		{ssf.SessionRevoked, user, `{}`, nil, "subject U 1000 logout"},
		{ssf.SessionRevoked, opaque, `{}`, nil, "session O 1000 logout, subject O 1000 logout"},
		{ssf.SessionRevoked, `{"format":"jwt_id","iss":"` + iss + `","jti":"A"}`, `{}`, nil, "token A 1000 logout"},
		{ssf.SessionRevoked, `{"format":"jwt_id","iss":"https://other.example","jti":"A"}`, `{}`, nil, "unmapped"},
		{ssf.SessionRevoked, `{"format":"iss_sub","iss":"https://other.example","sub":"U"}`, `{}`, nil, "unmapped"},
		{ssf.SessionRevoked, `{"format":"iss_sub","iss":"https://events.example","sub":"U"}`, `{}`, func(m *ssf.Mapping) { m.Transmitter = "https://events.example" }, "subject U 1000 logout"},
		{ssf.SessionRevoked, `{"format":"aliases","identifiers":[` + email + `,` + user + `]}`, `{}`, nil, "subject U 1000 logout"},
		{ssf.SessionRevoked, `{"format":"phone_number","phone_number":"+1206"}`, `{}`, nil, "unmapped"},
		{ssf.SessionRevoked, `{"format":"complex","tenant":{"format":"opaque","id":"T"}}`, `{}`, nil, "unmapped"},
		{ssf.SessionRevoked, email, `{}`, nil, "unmapped"},
		{ssf.SessionRevoked, email, `{}`, func(m *ssf.Mapping) { m.EmailIsSubject = true }, "subject alice@example.com 1000 logout"},
		{ssf.TokenClaimsChange, session, `{"claims":{"role":"ro-admin"}}`, nil, "subject U 1000 claims"},
		{ssf.TokenClaimsChange, opaque, `{}`, nil, "subject O 1000 claims"},
		{ssf.CredentialChange, user, `{"credential_type":"password","change_type":"update"}`, nil, "subject U 1000 credential"},
		{ssf.CredentialChange, user, `{"credential_type":"fido2-roaming","change_type":"create"}`, nil, "ignored"},
		{ssf.AccountDisabled, user, `{"reason":"hijacking"}`, nil, "subject U 1000 disabled"},
		{ssf.AccountPurged, user, `{}`, nil, "subject U 1000 disabled"},
		{ssf.CredentialCompromise, user, `{"credential_type":"password"}`, nil, "subject U 1000 credential"},
		{ssf.SessionsRevoked, user, `{}`, nil, "subject U 1000 logout"},
		{ssf.Verification, `{"format":"opaque","id":"stream"}`, `{"state":"x"}`, nil, "control"},
		{ssf.StreamUpdated, opaque, `{"status":"paused"}`, nil, "control"},
		{"https://schemas.openid.net/secevent/caep/event-type/assurance-level-change", user, `{}`, nil, "ignored"},
		{"https://example.com/unknown", user, `{}`, nil, "ignored"},
	} {
		read, err := ssf.Read([]byte(token(tt.subject, tt.event, tt.body)))
		if err != nil {
			t.Errorf("%s of %s: %v", tt.event, tt.subject, err)
			continue
		}
		m := ssf.Mapping{Issuer: iss, Transmitter: iss}
		if tt.change != nil {
			tt.change(&m)
		}
		if got := said(m.Records(read.Events[0])); got != tt.want {
			t.Errorf("%s of %s\ngot  %s\nwant %s", tt.event, tt.subject, got, tt.want)
		}
	}
}

func said(records []revocation.Record, o ssf.Outcome) string {
	if len(records) == 0 {
		return string(o)
	}
	kinds := map[revocation.Kind]string{revocation.KindToken: "token", revocation.KindSession: "session", revocation.KindSubject: "subject"}
	var all []string
	for _, r := range records {
		all = append(all, fmt.Sprint(kinds[r.Target.Kind], " ", r.Target.ID, " ", r.IssuedBefore.Unix(), " ", r.Reason))
	}
	return strings.Join(all, ", ")
}

// TestReadSubjectsOfDrafts: what stands in the event itself.
func TestReadSubjectsOfDrafts(t *testing.T) {
	t.Parallel()
	read, err := ssf.Read([]byte(`{"iss":"I","jti":"J","iat":7,"aud":["a","b"],"toe":5,"events":{"E":{"subject":{"format":"opaque","id":"O"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if e := read.Events[0]; e.Subject.ID != "O" || !e.At.Equal(time.Unix(5, 0)) || !slices.Equal(read.Audience, []string{"a", "b"}) {
		t.Errorf("%+v", read)
	}
}

// TestReadRefuses what is no security event token (RFC 8417 §2.2, RFC 9493).
func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]string{
		"no JSON":             `x`,
		"no issuer":           `{"jti":"J","iat":1,"events":{"E":{}}}`,
		"no jti":              `{"iss":"I","iat":1,"events":{"E":{}}}`,
		"no iat":              `{"iss":"I","jti":"J","events":{"E":{}}}`,
		"no events":           `{"iss":"I","jti":"J","iat":1}`,
		"empty events":        `{"iss":"I","jti":"J","iat":1,"events":{}}`,
		"event no object":     `{"iss":"I","jti":"J","iat":1,"events":{"E":1}}`,
		"two of a name":       `{"iss":"I","jti":"J","iat":1,"events":{"E":{},"E":{}}}`,
		"aud a number":        `{"iss":"I","jti":"J","iat":1,"aud":1,"events":{"E":{}}}`,
		"iat a text":          `{"iss":"I","jti":"J","iat":"1","events":{"E":{}}}`,
		"iat before all time": `{"iss":"I","jti":"J","iat":-1,"events":{"E":{}}}`,
		"endless iat":         `{"iss":"I","jti":"J","iat":1e300,"events":{"E":{}}}`,
		"subject without id":  token(`{"format":"opaque"}`, "E", `{}`),
		"an empty id":         token(`{"format":"opaque","id":""}`, "E", `{}`),
		"an endless id":       token(`{"format":"opaque","id":"`+strings.Repeat("x", 513)+`"}`, "E", `{}`),
		"a NUL":               token(`{"format":"opaque","id":"x\u0000"}`, "E", `{}`),
		"subjects all down":   token(strings.Repeat(`{"format":"complex","user":`, 6)+`{}`+strings.Repeat(`}`, 6), "E", `{}`),
	} {
		if _, err := ssf.Read([]byte(payload)); !errors.Is(err, ssf.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

// TestWhatIsWrittenIsRead: the events that we send say to ourselves, as a
// receiver, what they are to say to others.
func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		event ssf.Event
		want  string
	}{
		{ssf.Event{Type: ssf.SessionRevoked, Subject: ssf.OfSession("S", "U")}, "session S 900 logout"},
		{ssf.Event{Type: ssf.SessionRevoked, Subject: ssf.OfPerson("U")}, "subject U 900 logout"},
		{ssf.Event{Type: ssf.TokenClaimsChange, Subject: ssf.OfPerson("U")}, "subject U 900 claims"},
		{ssf.Event{Type: ssf.CredentialChange, Subject: ssf.OfPerson("U"), ChangeType: "update", CredentialType: "password"}, "subject U 900 credential"},
		{ssf.Event{Type: ssf.AccountDisabled, Subject: ssf.OfPerson("U")}, "subject U 900 disabled"},
		{ssf.Event{Type: ssf.Verification, Subject: ssf.Subject{Format: ssf.FormatOpaque, ID: "stream"}, State: "x"}, "control"},
	} {
		tt.event.At = time.Unix(900, 0)
		sent := ssf.Token{Issuer: iss, ID: "J", IssuedAt: time.Unix(1000, 0), Audience: []string{"client"}, Events: []ssf.Event{tt.event}}
		payload, err := sent.Payload()
		if err != nil {
			t.Fatal(err)
		}
		read, err := ssf.Read(payload)
		if err != nil {
			t.Errorf("%s: %v", payload, err)
			continue
		}
		if got := said(ssf.Mapping{Issuer: iss}.Records(read.Events[0])); got != tt.want || read.ID != "J" || !slices.Equal(read.Audience, sent.Audience) {
			t.Errorf("%s: %s, want %s", payload, got, tt.want)
		}
		if read.Events[0].State != tt.event.State || read.Events[0].CredentialType != tt.event.CredentialType {
			t.Errorf("%s: %+v", payload, read.Events[0])
		}
	}
	if _, err := (ssf.Token{}).Payload(); err == nil {
		t.Error("a token without an event was written")
	}
}

// TestAPersonIsNamedAsTheyAreKnown, wherever in a subject they stand.
func TestAPersonIsNamedAsTheyAreKnown(t *testing.T) {
	t.Parallel()
	before := ssf.OfSession("U", "U")
	after := before.Known(func(sub string) string { return "pairwise " + sub })
	if got := after.Parts["user"].ID; got != "pairwise U" {
		t.Errorf("person %q", got)
	}
	if after.Parts["session"].ID != "U" || before.Parts["user"].ID != "U" {
		t.Errorf("%+v of %+v: what is no person, or not ours, was changed", after, before)
	}
}

// FuzzRead: whatever a payload holds, its records can be kept and sent: no
// watcher must stop at one (see revocation/watch).
func FuzzRead(f *testing.F) {
	f.Add([]byte(token(`{"format":"complex","session":{"format":"opaque","id":"S"},"user":{"format":"email","email":"a@b"}}`, ssf.SessionRevoked, `{"event_timestamp":1}`)))
	f.Add([]byte(token(`{"format":"aliases","identifiers":[{"format":"jwt_id","iss":"`+iss+`","jti":"A"}]}`, ssf.SessionRevoked, `{}`)))
	f.Add([]byte(token(`{"format":"iss_sub","iss":"`+iss+`","sub":"U"}`, ssf.CredentialChange, `{"change_type":"update"}`)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		read, err := ssf.Read(payload)
		if err != nil {
			if !errors.Is(err, ssf.ErrMalformed) {
				t.Errorf("%v is not ErrMalformed", err)
			}
			return
		}
		for _, m := range []ssf.Mapping{{Issuer: iss, EmailIsSubject: true}, {Issuer: iss, SessionAsSubject: true}} {
			for _, e := range read.Events {
				records, o := m.Records(e)
				if (len(records) > 0) != (o == ssf.Revokes) {
					t.Errorf("%d records, %s", len(records), o)
				}
				for _, r := range records {
					if r.Target.ID == "" || len(r.Target.ID) > 512 || r.Target.Client != "" || r.IssuedBefore.After(read.IssuedAt) {
						t.Errorf("a record that cannot be kept: %+v", r)
					}
				}
			}
		}
	})
}
