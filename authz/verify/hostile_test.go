package verify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tegata/tegata/internal/jose"
)

// raw signs any header and payload with the world's first key, which
// jose.Signer would refuse to.
func (w *world) raw(t testing.TB, header map[string]any, payload string) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	signing := base64url(h) + "." + base64url([]byte(payload))
	digest := sha256.Sum256([]byte(signing))
	r, s, err := ecdsa.Sign(rand.Reader, w.keys[0].Key.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signing + "." + base64url(signature)
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// hs256 signs with a secret, as a verifier that confuses keys would expect it
// (RFC 8725 §2.1).
func hs256(secret []byte, payload string) string {
	signing := base64url([]byte(`{"alg":"HS256","kid":"k1","typ":"at+jwt"}`)) + "." + base64url([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signing))
	return signing + "." + base64url(mac.Sum(nil))
}

// publicPEM is what everybody knows of the world's first key.
func (w *world) publicPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(w.keys[0].Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// hostile are tokens that are wrong in one thing each, and why they are refused.
func (w *world) hostile(t testing.TB) map[string]hostile {
	t.Helper()
	body := string(must(json.Marshal(with(nil)))(t))
	good := w.token(t, nil)
	parts := strings.Split(good, ".")
	claim := func(name string, value any) string { return w.token(t, map[string]any{name: value}) }
	head := func(changes map[string]any) string {
		h := map[string]any{"alg": "ES256", "kid": "k1", "typ": "at+jwt"}
		maps.Copy(h, changes)
		maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
		return w.raw(t, h, body)
	}
	prefix := func(members string) string { return w.sign(t, "at+jwt", prefixText(body, members)) }
	stranger := newWorld(t, "k1")
	own := must(jose.NewKeySet(jose.PublicKey{ID: "k1", Key: stranger.keys[0].Key.Public()}))(t)
	embedded := func(name string, value any) string {
		return stranger.raw(t, map[string]any{"alg": "ES256", "kid": "k1", "typ": "at+jwt", name: value}, body)
	}
	none := func(alg, signature string) string {
		return base64url([]byte(`{"alg":"`+alg+`","kid":"k1","typ":"at+jwt"}`)) + "." + parts[1] + "." + signature
	}
	return map[string]hostile{
		"alg none, no signature":    {none("none", ""), ErrMalformed},
		"alg none, some signature":  {none("none", parts[2]), ErrAlgorithm},
		"alg nOnE":                  {none("nOnE", parts[2]), ErrAlgorithm},
		"alg absent":                {head(map[string]any{"alg": nil}), ErrMalformed},
		"alg a number":              {head(map[string]any{"alg": 1}), ErrMalformed},
		"alg of another key":        {head(map[string]any{"alg": "RS256"}), ErrAlgorithm},
		"alg not configured":        {head(map[string]any{"alg": "ES384"}), ErrAlgorithm},
		"HS256 with the public key": {hs256(w.publicPEM(t), body), ErrAlgorithm},
		"HS256 with nothing":        {hs256(nil, body), ErrAlgorithm},

		"typ JWT":       {head(map[string]any{"typ": "JWT"}), ErrType},
		"typ absent":    {head(map[string]any{"typ": nil}), ErrType},
		"typ of logout": {head(map[string]any{"typ": "logout+jwt"}), ErrType},
		"typ a list":    {head(map[string]any{"typ": []string{"at+jwt"}}), ErrMalformed},

		"kid unknown":         {head(map[string]any{"kid": "nobody"}), ErrKey},
		"kid absent":          {head(map[string]any{"kid": nil}), ErrKey},
		"kid of another":      {head(map[string]any{"kid": "k2"}), ErrSignature},
		"kid a number":        {head(map[string]any{"kid": 1}), ErrMalformed},
		"kid very long":       {head(map[string]any{"kid": strings.Repeat("k", 4096)}), ErrKey},
		"key of another":      {stranger.token(t, nil), ErrSignature},
		"jwk in the header":   {embedded("jwk", own.Keys()[0]), ErrSignature},
		"jku in the header":   {embedded("jku", "https://evil.example/certs"), ErrSignature},
		"x5u in the header":   {embedded("x5u", "https://evil.example/cert"), ErrSignature},
		"crit in the header":  {head(map[string]any{"crit": []string{"exp"}, "exp": 1}), ErrMalformed},
		"b64 in the header":   {head(map[string]any{"b64": false}), ErrMalformed},
		"zip in the header":   {head(map[string]any{"zip": "DEF"}), ErrMalformed},
		"signature of zeros":  {parts[0] + "." + parts[1] + "." + base64url(make([]byte, 64)), ErrSignature},
		"signature cut":       {good[:len(good)-2], ErrSignature},
		"payload of another":  {parts[0] + "." + base64url([]byte(strings.Replace(body, "alice", "admin", 1))) + "." + parts[2], ErrSignature},
		"header of another":   {base64url([]byte(`{"typ":"at+jwt","kid":"k1","alg":"ES256"}`)) + "." + parts[1] + "." + parts[2], ErrSignature},
		"payload base64 text": {parts[0] + "." + base64url([]byte(parts[1])) + "." + parts[2], ErrMalformed},

		"empty":                     {"", ErrMalformed},
		"dots":                      {"..", ErrMalformed},
		"trailing dot":              {good + ".", ErrMalformed},
		"leading dot":               {"." + good, ErrMalformed},
		"two parts":                 {parts[0] + "." + parts[1], ErrMalformed},
		"five parts":                {good + ".a.b", ErrMalformed},
		"padding":                   {good + "==", ErrMalformed},
		"padding inside":            {parts[0] + "=." + parts[1] + "." + parts[2], ErrMalformed},
		"standard base64":           {parts[0] + "." + parts[1] + "." + strings.Repeat("+/", 43), ErrMalformed},
		"base64 not canonical":      {good[:len(good)-1] + otherSpelling(good[len(good)-1]), ErrMalformed},
		"line break":                {parts[0] + "\n." + parts[1] + "." + parts[2], ErrMalformed},
		"space behind":              {good + " ", ErrMalformed},
		"too large":                 {w.raw(t, map[string]any{"alg": "ES256", "kid": "k1", "typ": "at+jwt"}, prefixText(body, `"pad":"`+strings.Repeat("x", jose.MaxCompact)+`",`)), ErrMalformed},
		"too large, of nothing":     {strings.Repeat(".", 1<<20), ErrMalformed},
		"JSON serialization":        {`{"payload":"` + parts[1] + `","signatures":[]}`, ErrMalformed},
		"payload an array":          {w.sign(t, "at+jwt", "["+body+"]"), ErrMalformed},
		"payload null":              {w.sign(t, "at+jwt", "null"), ErrMalformed},
		"payload a token":           {w.sign(t, "at+jwt", good), ErrMalformed},
		"text after the payload":    {w.sign(t, "at+jwt", body+"{}"), ErrMalformed},
		"nested deeply":             {prefix(`"x":` + strings.Repeat("[", 4000) + strings.Repeat("]", 4000) + ","), ErrMalformed},
		"claim twice":               {prefix(`"scope":"admin",`), ErrMalformed},
		"claim twice, one escaped":  {prefix(`"\u0073cope":"admin",`), ErrMalformed},
		"claim twice, further down": {prefix(`"x":[{"a":1,"a":2}],`), ErrMalformed},
		"broken UTF-8":              {w.sign(t, "at+jwt", strings.Replace(body, "alice", "al\xff\xfe", 1)), ErrMalformed},
		"half a surrogate pair":     {w.sign(t, "at+jwt", strings.Replace(body, "alice", `\ud800`, 1)), ErrMalformed},

		"iss unknown":           {claim("iss", "https://evil.example"), ErrIssuer},
		"iss with a slash more": {claim("iss", home+"/"), ErrIssuer},
		"iss in capitals":       {claim("iss", strings.ToUpper(home)), ErrIssuer},
		"iss absent":            {claim("iss", nil), ErrClaims},
		"iss a list":            {claim("iss", []string{home}), ErrClaims},
		"ISS for iss":           {w.token(t, map[string]any{"iss": nil, "ISS": home}), ErrClaims},

		"aud of another API":  {claim("aud", "invoices-api"), ErrAudience},
		"aud with a prefix":   {claim("aud", audience+"-2"), ErrAudience},
		"aud absent":          {claim("aud", nil), ErrAudience},
		"aud an empty list":   {claim("aud", []string{}), ErrAudience},
		"aud an object":       {claim("aud", map[string]any{audience: true}), ErrClaims},
		"aud a mixed list":    {claim("aud", []any{audience, 1}), ErrClaims},
		"aud a list of lists": {claim("aud", []any{[]any{audience}}), ErrClaims},

		"exp absent":      {claim("exp", nil), ErrClaims},
		"exp null":        {prefixWithout(t, w, "exp", `"exp":null,`), ErrClaims},
		"exp a text":      {claim("exp", "1900000000"), ErrClaims},
		"exp a fraction":  {claim("exp", 1900000000.5), ErrClaims},
		"exp beyond all":  {prefixWithout(t, w, "exp", `"exp":1e400,`), ErrClaims},
		"exp negative":    {claim("exp", -1), ErrClaims},
		"exp overflowing": {prefixWithout(t, w, "exp", `"exp":9223372036854775807,`), ErrClaims},
		"exp passed":      {claim("exp", start.Add(-time.Minute).Unix()), ErrExpired},
		"exp zero":        {claim("exp", 0), ErrExpired},
		"exp at leeway":   {claim("exp", start.Add(-defaultLeeway).Unix()), ErrExpired},
		"nbf to come":     {claim("nbf", start.Add(time.Minute).Unix()), ErrNotYet},
		"nbf past leeway": {claim("nbf", start.Add(defaultLeeway+time.Second).Unix()), ErrNotYet},
		"nbf a text":      {claim("nbf", "0"), ErrClaims},
		"iat to come":     {claim("iat", start.Add(time.Hour).Unix()), ErrNotYet},
		"iat true":        {claim("iat", true), ErrClaims},

		"typ claim of an ID token":      {claim("typ", "ID"), ErrType},
		"typ claim of a refresh token":  {claim("typ", "Refresh"), ErrType},
		"typ claim empty":               {claim("typ", ""), ErrType},
		"typ claim a number":            {claim("typ", 1), ErrClaims},
		"sub absent":                    {claim("sub", nil), ErrClaims},
		"sub empty":                     {claim("sub", ""), ErrClaims},
		"sub a number":                  {claim("sub", 1), ErrClaims},
		"jti a number":                  {claim("jti", 1), ErrClaims},
		"sid a list":                    {claim("sid", []string{"s-1"}), ErrClaims},
		"azp an object":                 {claim("azp", map[string]any{}), ErrClaims},
		"rev a text":                    {claim("rev", "7"), ErrClaims},
		"rev negative":                  {claim("rev", -1), ErrClaims},
		"rev a fraction":                {claim("rev", 7.5), ErrClaims},
		"rev null":                      {prefixWithout(t, w, "rev", `"rev":null,`), ErrClaims},
		"scope a number":                {claim("scope", 1), ErrClaims},
		"scope with a tab":              {claim("scope", "a\tb"), ErrClaims},
		"scope list with a number":      {claim("scope", []any{"a", 1}), ErrClaims},
		"scope list with two in one":    {claim("scope", []string{"a b"}), ErrClaims},
		"scope list with an empty text": {claim("scope", []string{""}), ErrClaims},
	}
}

type hostile struct {
	token string
	want  error
}

// must makes the only error of a step of the setting-up fatal.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// prefixText puts members before those of an object.
func prefixText(object, members string) string { return "{" + members + object[1:] }

// prefixWithout signs a good payload in which a claim is spelled by hand.
func prefixWithout(t testing.TB, w *world, name, member string) string {
	t.Helper()
	body := must(json.Marshal(with(map[string]any{name: nil})))(t)
	return w.sign(t, "at+jwt", prefixText(string(body), member))
}

// otherSpelling is a last character of base64url that lax decoders read as the
// same bytes: its unused bits differ. 64 bytes leave four of them unused.
func otherSpelling(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, last)|1])
}

func TestHostileTokensAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1", "k2")
	v := w.verifier(t, nil)
	for name, h := range w.hostile(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := v.Verify(t.Context(), h.token)
			if !errors.Is(err, h.want) || token != nil {
				t.Errorf("got %v, %v, want %v", token, err, h.want)
			}
			checkSilent(t, err, h.token)
		})
	}
}

// checkSilent fails if an error says anything of the token that was refused.
func checkSilent(t *testing.T, err error, token string) {
	t.Helper()
	if err == nil {
		return
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) >= 8 && strings.Contains(err.Error(), part) {
			t.Errorf("the error tells of the token: %v", err)
		}
	}
	for _, secret := range []string{"alice", "evil", "onrtac"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells of the claims: %v", err)
		}
	}
}

// TestNothingHostileIsRemembered: only what was accepted takes memory.
func TestNothingHostileIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1", "k2")
	v := w.verifier(t, nil)
	for _, h := range w.hostile(t) {
		_, _ = v.Verify(t.Context(), h.token)
	}
	if n, bytes := v.cache.usage(); n != 0 || bytes != 0 {
		t.Errorf("got %d entries of %d bytes", n, bytes)
	}
}

// TestWhatIsNeverAcceptedFetchesNothing: nobody without a signature makes us
// ask anybody for anything, unless the token could be good.
func TestWhatIsNeverAcceptedFetchesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "k1", "k2")
	v := w.verifier(t, func(c *Config) { c.Issuers[0].Algorithms = []jose.Algorithm{jose.ES256} })
	for name, h := range w.hostile(t) {
		switch h.want {
		case ErrMalformed, ErrAlgorithm, ErrIssuer:
		default:
			continue
		}
		if _, err := v.Verify(t.Context(), h.token); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if w.fetches != 0 {
		t.Errorf("got %d fetches", w.fetches)
	}
}

func TestAKeyIsNeededWithTheRightCurve(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	w.keys = append(w.keys, jose.Signer{ID: "k1", Algorithm: jose.ES384, Key: key})
	v := w.verifier(t, nil)
	if _, err := v.Verify(t.Context(), w.token(t, nil)); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("an algorithm that is not configured: got %v", err)
	}
	v = w.verifier(t, func(c *Config) { c.Issuers[0].Algorithms = []jose.Algorithm{jose.ES384} })
	if _, err := v.Verify(t.Context(), w.token(t, nil)); err != nil {
		t.Errorf("an algorithm that is configured: got %v", err)
	}
}
