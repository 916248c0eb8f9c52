package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatABackupDoesNotKnowIsRevoked: a token that was minted and revoked
// after the backup was made is dead in the store that was restored from it, as
// is every other; what is minted from then on is good. Without losses, all is.
func TestWhatABackupDoesNotKnowIsRevoked(t *testing.T) {
	t.Parallel()
	for flag, alive := range map[string]bool{"": false, "--nothing-lost": true} {
		dir := t.TempDir()
		file := filepath.Join(dir, "tegata.yml")
		for name, content := range map[string]string{
			"tegata.yml": `
issuer:
  base_url: http://127.0.0.1:8080
  listen: 127.0.0.1:0
  management: 127.0.0.1:0
  watch: { listen: 127.0.0.1:0 }
  realms: [main.yml]
`,
			"main.yml": `
realm: main
clients:
  - { clientId: svc, secret: svc-secret, serviceAccountsEnabled: true, standardFlowEnabled: false }
  - { clientId: gw, secret: gw-secret, standardFlowEnabled: false, attributes: { introspection.any.audience: "true" } }
`,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var kept, gone, fresh string
		withIssuer(t, file, func(ask asker) { kept = ask.mint() })
		backup, err := os.ReadFile(filepath.Join(dir, "tegata.db"))
		if err != nil {
			t.Fatal(err)
		}
		withIssuer(t, file, func(ask asker) {
			gone = ask.mint()
			ask.post("revoke", "svc", url.Values{"token": {gone}})
			if ask.active(gone) || !ask.active(kept) {
				t.Fatal("before: want the one revoked and the other not")
			}
		})
		if err := os.WriteFile(filepath.Join(dir, "tegata.db"), backup, 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"store", "restored", "--config", file}
		if flag != "" {
			args = append(args, flag)
		}
		var out, complaint bytes.Buffer
		if code := run(args, &env{ctx: t.Context(), stdout: &out, stderr: &complaint, lookupEnv: noEnv}); code != exitOK || !strings.HasPrefix(out.String(), "new epoch; ") {
			t.Fatalf("%v: %d, %s%s", args, code, out.String(), complaint.String())
		}
		withIssuer(t, file, func(ask asker) {
			fresh = ask.mint()
			for name, row := range map[string]struct {
				token string
				want  bool
			}{"from before the backup": {kept, alive}, "revoked since": {gone, alive}, "fresh": {fresh, true}} {
				if got := ask.active(row.token); got != row.want {
					t.Errorf("%q: the token %s is active: %v", flag, name, got)
				}
			}
		})
	}
}

// withIssuer runs f with an issuer of a configuration.
func withIssuer(t *testing.T, file string, f func(asker)) {
	t.Helper()
	conf, err := loadConfig(file, noEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openIssuer(t.Context(), *conf.Issuer, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	f(asker{t, s.issuer.Handler()})
}

// asker asks an issuer as its clients do.
type asker struct {
	t *testing.T
	http.Handler
}

func (a asker) post(path, client string, form url.Values) map[string]any {
	a.t.Helper()
	req := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8080/realms/main/protocol/openid-connect/"+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, client+"-secret")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, req)
	var answer map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			a.t.Fatal(err)
		}
	}
	if w.Code != http.StatusOK {
		a.t.Fatalf("%s: %d %v", path, w.Code, answer)
	}
	return answer
}

func (a asker) mint() string {
	return fmt.Sprint(a.post("token", "svc", url.Values{"grant_type": {"client_credentials"}})["access_token"])
}

func (a asker) active(token string) bool {
	return a.post("token/introspect", "gw", url.Values{"token": {token}})["active"] == true
}
