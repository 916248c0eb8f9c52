package issuer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/sqlstore"
)

// BenchmarkClientCredentials is a token over HTTP. Beside it is the least that
// could be: the same exchange, and in it a signature and nothing else. Compare
// cpu-µs/op, which has the client's part in both.
//
// Stored sessions must not matter: TEGATA_SESSIONS=1000000 puts so many there.
func BenchmarkClientCredentials(b *testing.B) {
	b.Run("bare signature", func(b *testing.B) { exchangeToken(b, signature(b)) })
	b.Run("token", func(b *testing.B) { exchangeToken(b, minter(b, 0)) })
	var many int
	if _, err := fmt.Sscan(os.Getenv("TEGATA_SESSIONS"), &many); err == nil {
		b.Run(fmt.Sprintf("token beside %d sessions", many), func(b *testing.B) { exchangeToken(b, minter(b, many)) })
	}
}

// exchangeToken posts a token request b.N times.
func exchangeToken(b *testing.B, h http.Handler) {
	web := httptest.NewServer(h)
	defer web.Close()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for range b.N {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, web.URL+"/realms/demo/protocol/openid-connect/token",
			strings.NewReader("grant_type=client_credentials"))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("svc", "svc-secret")
		answer, err := web.Client().Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			b.Fatal(answer.Status, err)
		}
		_ = answer.Body.Close()
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// signature answers with as many bytes as a token has, signed.
func signature(b *testing.B) http.Handler {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	text := make([]byte, 600)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		sum := sha256.Sum256(text)
		sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string][]byte{"access_token": append(text, sig...)})
	})
}

// minter is an issuer with so many sessions in its store.
func minter(b *testing.B, sessions int) http.Handler {
	path := filepath.Join(b.TempDir(), "tegata.db")
	if err := os.WriteFile(path, importedStore(b), 0o600); err != nil {
		b.Fatal(err)
	}
	ahead := time.Until(modelNow)
	iss, db := openIssuer(b, path, func() time.Time { return time.Now().Add(ahead) })
	b.Cleanup(func() { _ = db.Close() })
	fill(b, db, sessions)
	return iss.Handler()
}

// fill stores sessions of one client each.
func fill(b *testing.B, db *sqlstore.DB, n int) {
	var r realm.Realm
	if err := db.Realms().Read(b.Context(), func(v realm.View) (err error) {
		r, err = v.RealmByName("demo")
		return err
	}); err != nil {
		b.Fatal(err)
	}
	for done := 0; done < n; {
		batch := min(10_000, n-done)
		_, err := db.Sessions().Write(context.Background(), func(tx session.Tx) error {
			for i := range batch {
				id := fmt.Sprintf("s-%d", done+i)
				u := session.UserSession{
					ID: id, RealmID: r.ID, Issuer: modelBase + "/realms/demo", UserID: id, CookieHash: []byte(id),
					Started: modelNow, LastSeen: modelNow, Idle: modelNow.Add(modelIdle), Expires: modelNow.Add(modelMax),
				}
				if err := tx.PutUserSession(u); err != nil {
					return err
				}
				if err := tx.PutClientSession(session.ClientSession{SessionID: id, ClientID: "app", Started: modelNow}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		done += batch
	}
}
