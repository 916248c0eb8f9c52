package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
)

var sessionTests = []test{
	{"a user session is what was put", testUserSession},
	{"ending a session takes what hangs on it", testDeletes},
	{"a family is rotated by one only", testRotate},
	{"a single-use value is replaced", testSingleUse},
	{"marks only rise", testMarks},
	{"revoking as a whole raises not-before", testNotBefore},
	{"what is disabled stays so, and nothing else is", testDisable},
	{"a client that acts for itself has an account", testServiceAccount},
	{"ended sessions come oldest end first", testEnded},
	{"a sweep is bounded and takes the expired only", testSweep},
	{"a snapshot stays", testSnapshot},
	{"a notice is taken by one only", testNotices},
	{"a consent is a user's to a client in a realm", testConsents},
}

// userSession is one with every field set.
func userSession(id string) session.UserSession {
	return session.UserSession{
		ID: id, RealmID: "r-1", Issuer: "https://id.example/realms/demo", UserID: "u-1",
		Offline: true, Origin: "s-0", CookieHash: []byte("cookie of " + id), Started: noon, AuthTime: noon.Add(time.Second), LastSeen: noon.Add(2 * time.Second),
		Idle: noon.Add(time.Hour), Expires: noon.Add(10 * time.Hour), RememberMe: true, ACR: "1", AMR: []string{"pwd", "otp"},
		IP: "192.0.2.1", Agent: "curl", Rev: 3, MaxAccessExp: noon.Add(time.Minute),
	}
}

func clientSession(sid, client string) session.ClientSession {
	return session.ClientSession{
		SessionID: sid, ClientID: client, Started: noon, LastSeen: noon, Idle: noon.Add(30 * time.Minute), Expires: noon.Add(time.Hour),
		Scope: "openid orders:read", Rev: 3, MaxAccessExp: noon.Add(time.Minute),
	}
}

func family(id, sid, client string) session.Family {
	return session.Family{
		ID: id, SessionID: sid, ClientID: client, Scope: "openid", Generation: 1, Rotated: noon, Expires: noon.Add(time.Hour),
		Asked:   session.Asked{Resource: []string{"https://api.example"}, Claims: []byte(`{"id_token":null}`)},
		Binding: session.Binding{JKT: "key", X5T: "cert"},
	}
}

// tree puts a user session with two client sessions and a family each.
func tree(tx session.Tx, sid string) error {
	err := tx.PutUserSession(userSession(sid))
	for _, c := range []string{"app", "shop"} {
		err = errors.Join(err, tx.PutClientSession(clientSession(sid, c)), tx.PutFamily(family(sid+c, sid, c)))
	}
	return err
}

func testUserSession(t *testing.T, s Store) {
	want, bare := userSession("s-1"), session.UserSession{ID: "s-2", RealmID: "r-1", UserID: "u-1", Started: noon}
	write(t, s, func(tx session.Tx) error { return errors.Join(tx.PutUserSession(want), tx.PutUserSession(bare)) })
	read(t, s, func(v session.View) error {
		for what, f := range map[string]func() (session.UserSession, error){
			"by id":     func() (session.UserSession, error) { return v.UserSession("r-1", "s-1") },
			"by cookie": func() (session.UserSession, error) { return v.UserSessionByCookie("r-1", want.CookieHash) },
		} {
			got, err := f()
			if err != nil {
				return err
			}
			same(t, what, want, got)
		}
		got, err := v.UserSession("r-1", "s-2")
		same(t, "with nothing in it", bare, got)
		all, errOf := v.UserSessionsOf("r-1", "u-1")
		same(t, "all of the user", []session.UserSession{want, bare}, all)
		if none, err := v.UserSessionsOf("r-2", "u-1"); len(none) > 0 || errOf != nil || err != nil {
			t.Errorf("all of the user in another realm: %v, %v, %v", none, errOf, err)
		}
		for what, f := range map[string]func() (session.UserSession, error){
			"another realm":           func() (session.UserSession, error) { return v.UserSession("r-2", "s-1") },
			"another realm's cookie":  func() (session.UserSession, error) { return v.UserSessionByCookie("r-2", want.CookieHash) },
			"no cookie":               func() (session.UserSession, error) { return v.UserSessionByCookie("r-1", nil) },
			"an id that is not there": func() (session.UserSession, error) { return v.UserSession("r-1", "S-1") },
		} {
			if _, err := f(); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", what, err)
			}
		}
		return err
	})
	thief := userSession("s-3")
	thief.CookieHash = want.CookieHash
	if _, err := s.Sessions().Write(t.Context(), func(tx session.Tx) error { return tx.PutUserSession(thief) }); err == nil {
		t.Error("two sessions have one cookie")
	}
	want.LastSeen, want.AMR, want.CookieHash = noon.Add(time.Hour), nil, []byte("new")
	write(t, s, func(tx session.Tx) error { return tx.PutUserSession(want) })
	read(t, s, func(v session.View) error {
		got, err := v.UserSession("r-1", "s-1")
		same(t, "replaced", want, got)
		return err
	})
}

// left names what there is of the sessions.
func left(t *testing.T, s Store, sids ...string) (names string) {
	t.Helper()
	read(t, s, func(v session.View) error {
		for _, sid := range sids {
			if _, err := v.UserSession("r-1", sid); err == nil {
				names += sid + " "
			}
			all, err := v.ClientSessions(sid)
			if err != nil {
				return err
			}
			for _, c := range all {
				names += sid + "/" + c.ClientID + " "
			}
			for _, c := range []string{"app", "shop"} {
				if _, err := v.Family(sid + c); err == nil {
					names += sid + "/" + c + "/family "
				}
			}
		}
		return nil
	})
	return names
}

func testDeletes(t *testing.T, s Store) {
	write(t, s, func(tx session.Tx) error { return errors.Join(tree(tx, "a"), tree(tx, "b"), tree(tx, "c")) })
	const whole = "%[1]s %[1]s/app %[1]s/shop %[1]s/app/family %[1]s/shop/family "
	for _, step := range []struct {
		what string
		do   func(session.Tx) error
		want string
	}{
		{"nothing", func(session.Tx) error { return nil }, fmt.Sprintf(whole, "a") + fmt.Sprintf(whole, "b") + fmt.Sprintf(whole, "c")},
		{
			"a client session", func(tx session.Tx) error { return tx.DeleteClientSession("a", "app") },
			"a a/shop a/shop/family " + fmt.Sprintf(whole, "b") + fmt.Sprintf(whole, "c"),
		},
		{
			"a user session", func(tx session.Tx) error { return tx.DeleteUserSession("b") },
			"a a/shop a/shop/family " + fmt.Sprintf(whole, "c"),
		},
		{
			"what is not there", func(tx session.Tx) error {
				return errors.Join(tx.DeleteUserSession("b"), tx.DeleteClientSession("a", "app"), tx.DeleteUserSessionsOf("r-1", "u-2"), tx.DeleteUserSessionsOf("r-2", "u-1"))
			},
			"a a/shop a/shop/family " + fmt.Sprintf(whole, "c"),
		},
		{"all of a user", func(tx session.Tx) error { return tx.DeleteUserSessionsOf("r-1", "u-1") }, ""},
	} {
		write(t, s, step.do)
		same(t, "after deleting "+step.what, step.want, left(t, s, "a", "b", "c"))
	}
}

func testRotate(t *testing.T, s Store) {
	f := family("f", "s", "shop")
	f.Reuses = 2
	write(t, s, func(tx session.Tx) error { return tx.PutFamily(f) })
	later := noon.Add(time.Minute)
	for _, step := range []struct {
		presented uint64
		want      bool
	}{{2, false}, {0, false}, {1, true}, {1, false}, {2, true}} {
		write(t, s, func(tx session.Tx) error {
			got, err := tx.RotateFamily("f", step.presented, later)
			if got != step.want {
				t.Errorf("RotateFamily(%d) = %v, want %v", step.presented, got, step.want)
			}
			return err
		})
	}
	f.Generation, f.Rotated, f.Reuses = 3, later, 0
	read(t, s, func(v session.View) error {
		got, err := v.Family("f")
		same(t, "the family", f, got)
		if _, err := v.Family("g"); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("a family that is not there: %v", err)
		}
		return err
	})
	write(t, s, func(tx session.Tx) error {
		if got, err := tx.RotateFamily("g", 1, later); got || err != nil {
			t.Errorf("rotating what is not there: %v, %v", got, err)
		}
		return nil
	})
}

func testSingleUse(t *testing.T, s Store) {
	u := session.SingleUse{Hash: []byte{0, 255, 7}, Kind: "code", Body: []byte(`{"a":1}`), Expires: noon}
	write(t, s, func(tx session.Tx) error { return tx.PutSingleUse(u) })
	u.Used, u.Expires = true, noon.Add(time.Hour)
	write(t, s, func(tx session.Tx) error { return tx.PutSingleUse(u) })
	read(t, s, func(v session.View) error {
		got, err := v.SingleUse(u.Hash)
		same(t, "the value", u, got)
		if _, err := v.SingleUse([]byte{0, 255}); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("a value that is not there: %v", err)
		}
		return err
	})
}

func testMarks(t *testing.T, s Store) {
	settle(t, s)
	high, low := noon.Add(time.Hour), noon.Add(time.Minute)
	settleOther(t, s)
	write(t, s, func(tx session.Tx) error { return tx.MarkMinted("r-1", "shop", high) })
	write(t, s, func(tx session.Tx) error { return tx.MarkMinted("r-1", "shop", low) })
	read(t, s, func(v session.View) error {
		r, err := v.RealmStanding("r-1")
		same(t, "realm", session.Standing{Enabled: true, MaxAccessExp: high}, r)
		return err
	})
	write(t, s, func(tx session.Tx) error { return tx.MarkMinted("r-1", "nobody", high.Add(time.Hour)) })
	read(t, s, func(v session.View) error {
		r, err1 := v.RealmStanding("r-1")
		c, err2 := v.ClientStanding("r-1", "shop")
		u, err3 := v.UserStanding("r-1", "u-1")
		other, err5 := v.ClientStanding("r-2", "shop")
		none, err4 := v.ClientStanding("r-3", "shop")
		same(t, "realm", session.Standing{Enabled: true, MaxAccessExp: high.Add(time.Hour)}, r)
		same(t, "client", session.Standing{Enabled: true, MaxAccessExp: high}, c)
		same(t, "user", session.Standing{Enabled: true}, u)
		same(t, "the other realm's client", session.Standing{Enabled: true}, other)
		same(t, "nobody", session.Standing{}, none)
		return errors.Join(err1, err2, err3, err4, err5)
	})
}

func testNotBefore(t *testing.T, s Store) {
	r := settle(t, s)
	settleOther(t, s)
	record := func(k revocation.Kind, id string) revocation.Record {
		return revocation.Record{Issuer: r.Issuer, Target: revocation.Target{Kind: k, ID: id}, IssuedBefore: noon, ExpiresAt: noon, Reason: revocation.ReasonRevoked}
	}
	rev := write(t, s, func(tx session.Tx) error {
		return errors.Join(
			tx.Revoke(r.ID, record(revocation.KindToken, "shop")),
			tx.Revoke(r.ID, record(revocation.KindSubject, "u-1")),
			tx.Revoke(r.ID, record(revocation.KindClient, "shop")),
			tx.Revoke(r.ID, record(revocation.KindIssuer, "")))
	})
	second := noon.Truncate(time.Second)
	if rev != 4 {
		t.Fatalf("Write = %d, want the last of four", rev)
	}
	settle(t, s) // importing the same again changes nothing of it
	read(t, s, func(v session.View) error {
		u, err1 := v.UserStanding("r-1", "u-1")
		c, err2 := v.ClientStanding("r-1", "shop")
		r, err3 := v.RealmStanding("r-1")
		same(t, "not before", []revocation.Revision{2, 3, 4}, []revocation.Revision{u.NotBefore, c.NotBefore, r.NotBefore})
		same(t, "not before, as a time", []time.Time{second, second, second}, []time.Time{u.NotBeforeTime, c.NotBeforeTime, r.NotBeforeTime})
		other, err4 := v.ClientStanding("r-2", "shop")
		same(t, "the other realm's client", session.Standing{Enabled: true}, other)
		return errors.Join(err1, err2, err3, err4)
	})
}

func testDisable(t *testing.T, s Store) {
	r := settle(t, s)
	settleOther(t, s)
	write(t, s, func(tx session.Tx) error {
		return errors.Join(
			tx.Disable(r.ID, revocation.Target{Kind: revocation.KindSubject, ID: "u-1"}),
			tx.Disable(r.ID, revocation.Target{Kind: revocation.KindClient, ID: "shop"}),
			tx.Disable(r.ID, revocation.Target{Kind: revocation.KindClient, ID: "nobody"}),
			tx.Disable(r.ID, revocation.Target{Kind: revocation.KindIssuer}))
	})
	read(t, s, func(v session.View) error {
		u, err1 := v.UserStanding("r-1", "u-1")
		c, err2 := v.ClientStanding("r-1", "shop")
		r, err3 := v.RealmStanding("r-1")
		same(t, "disabled", session.Standing{}, u)
		same(t, "disabled", session.Standing{}, c)
		same(t, "disabled", session.Standing{}, r)
		other, err4 := v.ClientStanding("r-2", "shop")
		same(t, "the other realm's client", session.Standing{Enabled: true}, other)
		return errors.Join(err1, err2, err3, err4)
	})
	_, err := s.Sessions().Write(t.Context(), func(tx session.Tx) error {
		return tx.Disable(r.ID, revocation.Target{Kind: revocation.KindSession, ID: "s-1"})
	})
	if err == nil {
		t.Error("a session was disabled")
	}
}

func testServiceAccount(t *testing.T, s Store) {
	settle(t, s)
	settleOther(t, s)
	err := s.Clients().Write(t.Context(), func(tx client.Tx) error {
		return tx.PutClient(client.Client{ID: "c-3", RealmID: "r-1", ClientID: "robot", Enabled: false, ServiceAccountsEnabled: true})
	})
	if err != nil {
		t.Fatal(err)
	}
	read(t, s, func(v session.View) error {
		robot, err1 := v.ServiceAccount("r-1", "robot")
		shop, err2 := v.ServiceAccount("r-1", "shop")
		nobody, err3 := v.ServiceAccount("r-1", "nobody")
		other, err4 := v.ServiceAccount("r-2", "robot")
		same(t, "accounts", []string{"c-3", "", "", ""}, []string{robot, shop, nobody, other})
		return errors.Join(err1, err2, err3, err4)
	})
}

func testEnded(t *testing.T, s Store) {
	write(t, s, func(tx session.Tx) error {
		var err error
		for i, end := range []time.Duration{5, 1, 4, 2, 3} {
			u := userSession(fmt.Sprint("s-", i))
			u.CookieHash = nil
			u.Idle, u.Expires = noon.Add(end*time.Second), noon.Add(time.Hour)
			if i%2 == 0 {
				u.Idle, u.Expires = u.Expires, u.Idle
			}
			err = errors.Join(err, tx.PutUserSession(u))
		}
		return err
	})
	read(t, s, func(v session.View) error {
		for _, tt := range []struct {
			after time.Duration
			limit int
			want  []string
		}{{0, 9, nil}, {1000, 9, nil}, {3500, 9, []string{"s-1", "s-3", "s-4"}}, {3500, 2, []string{"s-1", "s-3"}}, {9000, 9, []string{"s-1", "s-3", "s-4", "s-2", "s-0"}}} {
			all, err := v.EndedSessions(noon.Add(tt.after*time.Millisecond), tt.limit)
			if err != nil {
				return err
			}
			var ids []string
			for _, u := range all {
				ids = append(ids, u.ID)
			}
			same(t, fmt.Sprint("ended by ", tt.after), tt.want, ids)
		}
		return nil
	})
}

func testSweep(t *testing.T, s Store) {
	settle(t, s)
	const each = 5
	write(t, s, func(tx session.Tx) error {
		var err error
		for i := range 2 * each {
			expires := noon.Add(-time.Second)
			if i >= each {
				expires = noon.Add(time.Hour)
			}
			f := family(fmt.Sprint("f-", i), "s", "shop")
			f.Expires = expires
			err = errors.Join(err, tx.PutFamily(f),
				tx.PutSingleUse(session.SingleUse{Hash: []byte{byte(i)}, Kind: "jti", Expires: expires}),
				tx.Revoke("r-1", revocation.Record{
					Issuer: "iss", Target: revocation.Target{Kind: revocation.KindToken, ID: fmt.Sprint(i)}, IssuedBefore: noon, ExpiresAt: expires,
					Reason: revocation.ReasonRevoked,
				}))
		}
		return err
	})
	write(t, s, func(tx session.Tx) error {
		if n, err := tx.Sweep(noon.Add(-time.Second), 100); n != 0 || err != nil {
			t.Errorf("swept %d that expire just now, %v", n, err)
		}
		return nil
	})
	total := 0
	for range 10 {
		write(t, s, func(tx session.Tx) error {
			n, err := tx.Sweep(noon, 2)
			if n > 6 {
				t.Errorf("one sweep took %d, want at most 2 of each", n)
			}
			total += n
			return err
		})
	}
	if total != 3*each {
		t.Errorf("swept %d, want %d", total, 3*each)
	}
	records, err := since(t.Context(), s, 0, 100)
	if err != nil || len(records) != each || records[0].Revision != each+1 {
		t.Errorf("%d records are left, %v", len(records), err)
	}
	read(t, s, func(v session.View) error {
		for i := range 2 * each {
			_, err := v.SingleUse([]byte{byte(i)})
			if there := err == nil; there != (i >= each) {
				t.Errorf("value %d is there: %v", i, there)
			}
		}
		return nil
	})
	head := write(t, s, func(tx session.Tx) error {
		return tx.Revoke("r-1", revocation.Record{
			Issuer: "iss", Target: revocation.Target{Kind: revocation.KindToken, ID: "next"}, ExpiresAt: noon, Reason: revocation.ReasonRevoked,
		})
	})
	if head != 2*each+1 {
		t.Errorf("the next revision is %d: numbers come back", head)
	}
}

func testSnapshot(t *testing.T, s Store) {
	settle(t, s)
	write(t, s, func(tx session.Tx) error { return tree(tx, "a") })
	read(t, s, func(v session.View) error {
		before, err := v.UserSession("r-1", "a")
		if err != nil {
			return err
		}
		write(t, s, func(tx session.Tx) error {
			return errors.Join(tx.DeleteUserSession("a"), tx.Revoke("r-1", revocation.Record{
				Issuer: "iss", Target: revocation.Target{Kind: revocation.KindSession, ID: "a"}, ExpiresAt: noon, Reason: revocation.ReasonLogout,
			}))
		})
		after, err := v.UserSession("r-1", "a")
		if err != nil || !bytes.Equal(before.CookieHash, after.CookieHash) {
			t.Errorf("a write shows in a snapshot that was begun: %v", err)
		}
		if rev, err := v.Revision(); rev != 0 || err != nil {
			t.Errorf("a revision shows in a snapshot that was begun: %d, %v", rev, err)
		}
		return nil
	})
}

func testNotices(t *testing.T, s Store) {
	settle(t, s)
	err := s.Clients().Write(t.Context(), func(tx client.Tx) error {
		mute := client.Client{ID: "c-3", RealmID: "r-1", ClientID: "app", Enabled: true}
		told := client.Client{ID: "c-1", RealmID: "r-1", ClientID: "shop", Enabled: true}
		told.Attributes = map[string]string{"backchannel.logout.url": "https://shop.example/logout"}
		return errors.Join(tx.PutClient(mute), tx.PutClient(told))
	})
	if err != nil {
		t.Fatal(err)
	}
	notice := func(sid string, due time.Duration) session.Notice {
		return session.Notice{
			RealmID: "r-1", SessionID: sid, ClientID: "shop", UserID: "u-1", Due: noon.Add(due), Tries: 2, Expires: noon.Add(time.Hour),
		}
	}
	first, second, late := notice("s-1", -time.Second), notice("s-2", 0), notice("s-3", time.Microsecond)
	write(t, s, func(tx session.Tx) error {
		old := second
		old.Due, old.Tries = noon.Add(-time.Hour), 1
		return errors.Join(tx.PutNotice(late), tx.PutNotice(old), tx.PutNotice(second), tx.PutNotice(first), tree(tx, "s-9"))
	})
	due := func(limit int) (all []session.Notice) {
		read(t, s, func(v session.View) (err error) {
			all, err = v.DueNotices(noon, limit)
			return err
		})
		return all
	}
	same(t, "due", []session.Notice{first, second}, due(10))
	same(t, "due, limited", []session.Notice{first}, due(1))
	write(t, s, func(tx session.Tx) error {
		one, err1 := tx.TakeNotice(first, noon.Add(time.Minute))
		two, err2 := tx.TakeNotice(first, noon.Add(time.Minute))
		if !one || two {
			t.Errorf("taken: %t, then %t", one, two)
		}
		return errors.Join(err1, err2)
	})
	same(t, "due, but taken", []session.Notice{second}, due(10))
	write(t, s, func(tx session.Tx) error {
		return errors.Join(tx.DeleteNotice("s-2", "app"), tx.DeleteNotice("s-2", "shop"), tx.DeleteNotice("s-2", "shop"))
	})
	same(t, "due, but deleted", []session.Notice(nil), due(10))
	read(t, s, func(v session.View) error {
		got, err := v.Notified("r-1", "s-9")
		same(t, "who wants to know", []string{"shop"}, got)
		none, err2 := v.Notified("r-2", "s-9")
		same(t, "who wants to know in another realm", []string(nil), none)
		return errors.Join(err, err2)
	})
}

func testConsents(t *testing.T, s Store) {
	consent := func(realmID, userID, clientID string) session.Consent {
		return session.Consent{
			RealmID: realmID, UserID: userID, ClientID: clientID, Scope: "email profile", Created: noon, Updated: noon.Add(time.Microsecond),
		}
	}
	mine, other := consent("r-1", "u-1", "shop"), consent("r-1", "u-1", "app")
	write(t, s, func(tx session.Tx) error {
		return errors.Join(tx.PutConsent(mine), tx.PutConsent(other), tx.PutConsent(consent("r-2", "u-1", "shop")), tx.PutConsent(consent("r-1", "u-2", "shop")))
	})
	mine.Scope, mine.Updated = "email", noon.Add(time.Hour)
	write(t, s, func(tx session.Tx) error { return tx.PutConsent(mine) })
	read(t, s, func(v session.View) error {
		got, err := v.Consent("r-1", "u-1", "shop")
		same(t, "the consent, replaced", mine, got)
		all, err2 := v.ConsentsOf("r-1", "u-1")
		same(t, "the user's, by client", []session.Consent{other, mine}, all)
		return errors.Join(err, err2)
	})
	write(t, s, func(tx session.Tx) error {
		return errors.Join(tx.DeleteConsent("r-1", "u-1", "shop"), tx.DeleteConsent("r-1", "u-1", "shop"))
	})
	read(t, s, func(v session.View) error {
		if _, err := v.Consent("r-1", "u-1", "shop"); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("after it was deleted: %v", err)
		}
		_, err := v.Consent("r-1", "u-2", "shop")
		_, err2 := v.Consent("r-2", "u-1", "shop")
		return errors.Join(err, err2)
	})
}
