package issuer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkClientCredentials is a token over HTTP. Beside it is the least that
// could be: the same exchange, and in it a signature and nothing else. Compare
// cpu-µs/op, which has the client's part in both.
// That stored sessions do not matter is for BenchmarkBesideSessions to say.
func BenchmarkClientCredentials(b *testing.B) {
	b.Run("bare signature", func(b *testing.B) { exchangeToken(b, signature(b)) })
	b.Run("token", func(b *testing.B) { exchangeToken(b, minter(b)) })
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

// minter is an issuer.
func minter(b *testing.B) http.Handler {
	path := filepath.Join(b.TempDir(), "tegata.db")
	if err := os.WriteFile(path, importedStore(b), 0o600); err != nil {
		b.Fatal(err)
	}
	ahead := time.Until(modelNow)
	iss, db := openIssuer(b, path, func() time.Time { return time.Now().Add(ahead) })
	b.Cleanup(func() { _ = db.Close() })
	return iss.Handler()
}
