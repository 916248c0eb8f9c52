package issuer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
)

// prover makes DPoP proofs with one key.
type prover struct {
	s   *server
	key *ecdsa.PrivateKey
}

func newProver(s *server) prover {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return prover{s, key}
}

// thumbprint of the key, as cnf.jkt has it.
func (p prover) thumbprint() string {
	sum, err := jose.Thumbprint(p.key.Public())
	if err != nil {
		p.s.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// jws signs with the key in the header.
func (p prover) jws(typ string, claims map[string]any) string {
	p.s.t.Helper()
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		p.s.t.Fatal(err)
	}
	header, _ := json.Marshal(map[string]any{"alg": "ES256", "typ": typ, "jwk": map[string]string{
		"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}})
	payload, err := json.Marshal(claims)
	if err != nil {
		p.s.t.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		p.s.t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// claims of a good proof for an endpoint, changed; nil takes a claim away.
func (p prover) claims(method, path string, change map[string]any) map[string]any {
	claims := map[string]any{
		"jti": rand.Text(), "htm": method, "htu": p.s.oidc(path), "iat": p.s.now().Unix(),
	}
	for name, v := range change {
		if claims[name] = v; v == nil {
			delete(claims, name)
		}
	}
	return claims
}

func (p prover) proof(method, path string, change map[string]any) string {
	return p.jws("dpop+jwt", p.claims(method, path, change))
}

// now is the server's time.
func (s *server) now() time.Time { return time.Now().Add(time.Duration(s.clock.Load())) }

// claimsOf are what a token says; nothing is verified.
func claimsOf(t testing.TB, compact any) map[string]any {
	t.Helper()
	text, _ := compact.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("no token: %v", compact)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// importMore imports the demo realm with more clients.
func (s *server) importMore(clients ...issuer.Client) {
	s.t.Helper()
	file := demoRealm()
	file.Clients = append(file.Clients, clients...)
	if err := s.iss.Import(s.t.Context(), file); err != nil {
		s.t.Fatal(err)
	}
}

func service(id string, attributes map[string]string) issuer.Client {
	no := false
	return issuer.Client{
		ClientID: id, Secret: id + "-secret", ServiceAccountsEnabled: true, StandardFlowEnabled: &no,
		Audience: []string{"rs"}, Attributes: attributes,
	}
}

func basic(id string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+id+"-secret"))}}
}

// jkt is cnf.jkt of a token.
func jkt(claims map[string]any) any {
	cnf, _ := claims["cnf"].(map[string]any)
	return cnf["jkt"]
}

// TestProofsAtTheTokenEndpoint (RFC 9449 §4.3, §5).
func TestProofsAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.importMore(service("bound", map[string]string{"dpop.bound.access.tokens": "true"}))
	p := newProver(s)
	once := p.proof("POST", "token", nil)
	good := p.proof("POST", "token", nil)
	ask := func(proofs ...string) (int, map[string]any) {
		header := basic("bound")
		for _, proof := range proofs {
			header.Add("DPoP", proof)
		}
		status, _, answer := s.call("token", url.Values{"grant_type": {"client_credentials"}}, header)
		return status, answer
	}

	status, answer := ask(once)
	if status != http.StatusOK || answer["token_type"] != "DPoP" {
		t.Fatalf("status %d %v", status, answer)
	}
	if claims := claimsOf(t, answer["access_token"]); claims["typ"] != "DPoP" || jkt(claims) != p.thumbprint() {
		t.Errorf("claims %v, want cnf.jkt %s", claims, p.thumbprint())
	}
	_, told := s.post("token/introspect", "rs", "rs-secret", url.Values{"token": {answer["access_token"].(string)}})
	if told["active"] != true || told["token_type"] != "DPoP" || jkt(told) != p.thumbprint() {
		t.Errorf("introspection (RFC 9449 §6.2): %v", told)
	}
	for name, tt := range map[string]struct {
		proofs []string
		want   string
	}{
		"none (§5.2)":            {nil, "DPoP proof is missing"},
		"two (§4.3 1)":           {[]string{p.proof("POST", "token", nil), p.proof("POST", "token", nil)}, "more than one DPoP header"},
		"no JWT (§4.3 2)":        {[]string{"x"}, "DPoP header verification failure"},
		"no jti (§4.3 3)":        {[]string{p.proof("POST", "token", map[string]any{"jti": nil})}, "DPoP mandatory claims are missing"},
		"no iat (§4.3 3)":        {[]string{p.proof("POST", "token", map[string]any{"iat": nil})}, "DPoP mandatory claims are missing"},
		"text for iat (§4.3 3)":  {[]string{p.proof("POST", "token", map[string]any{"iat": "now"})}, "DPoP mandatory claims are missing"},
		"another typ (§4.3 4)":   {[]string{p.jws("JWT", p.claims("POST", "token", nil))}, "Invalid or missing type in DPoP header"},
		"tampered (§4.3 6)":      {[]string{good[:strings.LastIndex(good, ".")+1] + once[strings.LastIndex(once, ".")+1:]}, "DPoP signature verification failure"},
		"another method (§4.3)":  {[]string{p.proof("GET", "token", nil)}, "DPoP HTTP method mismatch"},
		"another target (§4.3)":  {[]string{p.proof("POST", "userinfo", nil)}, "DPoP HTTP URL mismatch"},
		"another host (§4.3)":    {[]string{p.proof("POST", "token", map[string]any{"htu": "https://evil.example/token"})}, "DPoP HTTP URL mismatch"},
		"made before (§11.1)":    {[]string{p.proof("POST", "token", map[string]any{"iat": s.now().Add(-2 * time.Minute).Unix()})}, "DPoP proof is not active"},
		"made ahead (§11.1)":     {[]string{p.proof("POST", "token", map[string]any{"iat": s.now().Add(2 * time.Minute).Unix()})}, "DPoP proof is not active"},
		"used before (§11.1)":    {[]string{once}, "DPoP proof has already been used"},
		"of an age beyond years": {[]string{p.proof("POST", "token", map[string]any{"iat": 1e300})}, "DPoP proof is not active"},
	} {
		status, answer := ask(tt.proofs...)
		if status != http.StatusBadRequest || answer["error"] != "invalid_dpop_proof" || answer["error_description"] != tt.want {
			t.Errorf("%s: %d %v, want %q", name, status, answer, tt.want)
		}
	}
	for name, htu := range map[string]string{
		"a query":        s.oidc("token") + "?x=1#f",
		"capitals":       strings.Replace(s.oidc("token"), "http://", "HTTP://", 1),
		"just as it was": s.oidc("token"),
	} {
		if status, answer := ask(p.proof("POST", "token", map[string]any{"htu": htu})); status != http.StatusOK {
			t.Errorf("htu with %s (§4.3): %d %v", name, status, answer)
		}
	}
}

// TestNonces are asked for and given (RFC 9449 §8), and a proof that had none
// costs nothing but another round.
func TestNonces(t *testing.T) {
	t.Parallel()
	s := start(t)
	app := demoRealm().Clients[0]
	app.ClientID, app.Secret = "nonced", "nonced-secret"
	app.Attributes = map[string]string{"dpop.bound.access.tokens": "true", "dpop.nonce.required": "true"}
	s.importMore(app)
	p := newProver(s)
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {newBrowser(t, s).login("nonced", "alice", "openid")},
		"redirect_uri": {callback}, "code_verifier": {verifier},
	}
	ask := func(nonce any) (int, http.Header, map[string]any) {
		header := basic("nonced")
		header.Set("DPoP", p.proof("POST", "token", map[string]any{"nonce": nonce}))
		return s.call("token", form, header)
	}
	var nonce string
	for name, sent := range map[string]any{"none": nil, "empty": "", "made up": "AAAA"} {
		status, header, answer := ask(sent)
		nonce = header.Get("DPoP-Nonce")
		if status != http.StatusBadRequest || answer["error"] != "use_dpop_nonce" || nonce == "" {
			t.Errorf("%s: %d %v, nonce %q", name, status, answer, nonce)
		}
	}
	s.clock.Add(int64(5 * time.Minute / 2)) // the code is older than its minute then
	form.Set("code", newBrowser(t, s).login("nonced", "alice", "openid"))
	status, header, answer := ask(nonce)
	if status != http.StatusOK || header.Get("DPoP-Nonce") == "" {
		t.Fatalf("%d %v, nonce %q", status, answer, header.Get("DPoP-Nonce"))
	}
	s.clock.Add(int64(10 * time.Minute))
	if _, _, answer := ask(nonce); answer["error"] != "use_dpop_nonce" {
		t.Errorf("an old nonce: %v", answer)
	}
}

// TestANonceThatIsMissingDoesNotSpendTheCode: the client comes back with both.
func TestANonceThatIsMissingDoesNotSpendTheCode(t *testing.T) {
	t.Parallel()
	s := start(t)
	app := demoRealm().Clients[0]
	app.ClientID, app.Secret = "nonced", "nonced-secret"
	app.Attributes = map[string]string{"dpop.nonce.required": "true"}
	s.importMore(app)
	p := newProver(s)
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {newBrowser(t, s).login("nonced", "alice", "openid")},
		"redirect_uri": {callback}, "code_verifier": {verifier},
	}
	header := basic("nonced")
	header.Set("DPoP", p.proof("POST", "token", nil))
	_, given, _ := s.call("token", form, header)
	header.Set("DPoP", p.proof("POST", "token", map[string]any{"nonce": given.Get("DPoP-Nonce")}))
	if status, _, answer := s.call("token", form, header); status != http.StatusOK {
		t.Errorf("%d %v", status, answer)
	}
}

// TestRefreshTokensOfPublicClientsAreBound to the key that the code came with
// (RFC 9449 §5); those of others to the client's credentials alone.
func TestRefreshTokensOfPublicClientsAreBound(t *testing.T) {
	t.Parallel()
	s := start(t)
	p, thief := newProver(s), newProver(s)
	redeem := func(clientID string, header http.Header) map[string]any {
		form := url.Values{
			"grant_type": {"authorization_code"}, "code": {newBrowser(t, s).login(clientID, "alice", "openid")},
			"redirect_uri": {callback}, "code_verifier": {verifier}, "client_id": {clientID},
		}
		header.Set("DPoP", p.proof("POST", "token", nil))
		status, _, answer := s.call("token", form, header)
		if status != http.StatusOK || answer["token_type"] != "DPoP" {
			t.Fatalf("%s: %d %v", clientID, status, answer)
		}
		return answer
	}
	refresh := func(clientID string, tokens map[string]any, header http.Header, proof string) (int, map[string]any) {
		form := url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID}, "refresh_token": {tokens["refresh_token"].(string)}}
		if header.Del("DPoP"); proof != "" {
			header.Set("DPoP", proof)
		}
		status, _, answer := s.call("token", form, header)
		return status, answer
	}

	spa := redeem("spa", http.Header{})
	for name, proof := range map[string]string{"without a proof": "", "with a thief's": thief.proof("POST", "token", nil)} {
		if status, answer := refresh("spa", spa, http.Header{}, proof); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	status, answer := refresh("spa", spa, http.Header{}, p.proof("POST", "token", nil))
	if status != http.StatusOK || answer["token_type"] != "DPoP" || jkt(claimsOf(t, answer["access_token"])) != p.thumbprint() {
		t.Errorf("with its own: %d %v", status, answer)
	}

	app := redeem("app", basic("app"))
	status, answer = refresh("app", app, basic("app"), thief.proof("POST", "token", nil))
	if status != http.StatusOK || jkt(claimsOf(t, answer["access_token"])) != thief.thumbprint() {
		t.Errorf("a confidential client with another key of its own: %d %v", status, answer)
	}
}

// TestUserinfoOfBoundTokens (RFC 9449 §7).
func TestUserinfoOfBoundTokens(t *testing.T) {
	t.Parallel()
	s := start(t)
	p, thief := newProver(s), newProver(s)
	header := basic("app")
	header.Set("DPoP", p.proof("POST", "token", nil))
	_, _, answer := s.call("token", url.Values{
		"grant_type": {"authorization_code"}, "code": {newBrowser(t, s).login("app", "alice", "openid")},
		"redirect_uri": {callback}, "code_verifier": {verifier},
	}, header)
	bound := answer["access_token"].(string)
	bearer := s.redeem(newBrowser(t, s).login("app", "alice", "openid"))["access_token"].(string)
	ath := func(token string) map[string]any { return map[string]any{"ath": hashOf(token)} }
	once := p.proof("GET", "userinfo", ath(bound))
	for _, tt := range []struct {
		name, scheme, token, proof string
		status                     int
		code                       string
	}{
		{"its own proof", "DPoP", bound, once, http.StatusOK, ""},
		{"the same again (§11.1)", "DPoP", bound, once, http.StatusUnauthorized, "invalid_dpop_proof"},
		{"no proof", "DPoP", bound, "", http.StatusUnauthorized, "invalid_dpop_proof"},
		{"no ath (§4.3 12)", "DPoP", bound, p.proof("GET", "userinfo", nil), http.StatusUnauthorized, "invalid_dpop_proof"},
		{"ath of another token", "DPoP", bound, p.proof("GET", "userinfo", ath(bearer)), http.StatusUnauthorized, "invalid_dpop_proof"},
		{"for another endpoint", "DPoP", bound, p.proof("GET", "token", ath(bound)), http.StatusUnauthorized, "invalid_dpop_proof"},
		{"a thief's proof", "DPoP", bound, thief.proof("GET", "userinfo", ath(bound)), http.StatusUnauthorized, "invalid_token"},
		{"as a bearer token (§7.2)", "Bearer", bound, "", http.StatusUnauthorized, "invalid_token"},
		{"as a bearer token, with a proof", "Bearer", bound, p.proof("GET", "userinfo", ath(bound)), http.StatusUnauthorized, "invalid_token"},
		{"a bearer token as bound (§7.1)", "DPoP", bearer, p.proof("GET", "userinfo", ath(bearer)), http.StatusUnauthorized, "invalid_token"},
		{"a bearer token as such", "Bearer", bearer, "", http.StatusOK, ""},
	} {
		header := http.Header{"Authorization": {tt.scheme + " " + tt.token}}
		if tt.proof != "" {
			header.Set("DPoP", tt.proof)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.oidc("userinfo"), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		challenge := resp.Header.Get("WWW-Authenticate")
		if resp.StatusCode != tt.status || !strings.Contains(challenge, tt.code) || tt.code != "" && !strings.HasPrefix(challenge, tt.scheme+" ") {
			t.Errorf("%s: status %d, %s, want %d %s", tt.name, resp.StatusCode, challenge, tt.status, tt.code)
		}
	}
}

// TestDiscoveryOfProofs (RFC 9449 §5.1).
func TestDiscoveryOfProofs(t *testing.T) {
	t.Parallel()
	algorithms, _ := start(t).getJSON("/realms/demo/.well-known/openid-configuration")["dpop_signing_alg_values_supported"].([]any)
	if len(algorithms) == 0 || algorithms[0] != "ES256" {
		t.Errorf("announced %v", algorithms)
	}
}
