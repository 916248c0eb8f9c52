package theme

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Errors of Forms.Open; test with errors.Is.
var (
	ErrForm    = errors.New("form was not made by us for this browser")
	ErrExpired = errors.New("form is too old")
)

// MaxForm is the largest sealed state, in bytes: what a browser may send back.
const MaxForm = 16 << 10

// cookie is the name of the cookie that forms are bound to, Keycloak's.
const cookie = "AUTH_SESSION_ID"

// Forms puts a flow's state into its form and takes it back.
//
// Nothing is stored before a person has proved who they are, so visitors
// cannot fill the store, and any replica can take the form back. The state is
// readable (the browser knows it anyway) but sealed with a MAC over its
// purpose, its realm, its end and a random cookie of the browser it was made
// for. A form made in one browser is worth nothing in another: that is the
// protection against cross-site request forgery, login forgery included
// (RFC 6749 §10.12, OWASP's signed double submit).
//
// State is not single use: sent again it does again what the same browser may
// do anyway, after the same checks. What must happen once (a code) is made by
// session when the flow ends.
type Forms struct {
	key    []byte
	now    func() time.Time
	rand   io.Reader
	secure bool
}

// NewForms checks its arguments. The key has at least 32 bytes and is the same
// for all replicas; secure marks the cookie for https only.
func NewForms(key []byte, now func() time.Time, rand io.Reader, secure bool) (*Forms, error) {
	if len(key) < sha256.Size || now == nil || rand == nil {
		return nil, errors.New("theme: forms need a key of 32 bytes, a clock and randomness")
	}
	return &Forms{key: key, now: now, rand: rand, secure: secure}, nil
}

// Seal returns state as a form value for this browser, good for life; it sets
// the cookie if the browser has none. purpose keeps forms of one kind from
// passing as another's.
func (f *Forms) Seal(w http.ResponseWriter, r *http.Request, realm, purpose string, state any, life time.Duration) (string, error) {
	browser, err := f.browser(w, r, realm)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(state)
	if err != nil {
		return "", fmt.Errorf("encoding form state: %w", err)
	}
	signed := binary.BigEndian.AppendUint64(nil, uint64(f.now().Add(life).Unix()))
	signed = append(signed, body...)
	sealed := append(f.mac(realm, purpose, browser, signed), signed...)
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Open reads into state what Seal sealed. Errors: ErrForm, ErrExpired.
func (f *Forms) Open(r *http.Request, realm, purpose, sealed string, state any) error {
	c, err := r.Cookie(cookie)
	if err != nil || len(sealed) > MaxForm {
		return ErrForm
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < sha256.Size+8 {
		return ErrForm
	}
	signed := raw[sha256.Size:]
	if !hmac.Equal(raw[:sha256.Size], f.mac(realm, purpose, c.Value, signed)) {
		return ErrForm
	}
	if ends := binary.BigEndian.Uint64(signed); f.now().Unix() >= int64(ends) {
		return ErrExpired
	}
	if err := json.NewDecoder(bytes.NewReader(signed[8:])).Decode(state); err != nil {
		return ErrForm
	}
	return nil
}

// Forget ends every open form of this browser, as after a login.
func (f *Forms) Forget(w http.ResponseWriter, realm string) {
	c := f.newCookie(realm, "")
	c.MaxAge = -1
	http.SetCookie(w, c)
}

// browser is the value of the browser's cookie, set now if it is missing or
// not of our making.
func (f *Forms) browser(w http.ResponseWriter, r *http.Request, realm string) (string, error) {
	if c, err := r.Cookie(cookie); err == nil && len(c.Value) == base64.RawURLEncoding.EncodedLen(sha256.Size) {
		return c.Value, nil
	}
	random := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f.rand, random); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	value := base64.RawURLEncoding.EncodeToString(random)
	http.SetCookie(w, f.newCookie(realm, value))
	return value, nil
}

func (f *Forms) newCookie(realm, value string) *http.Cookie {
	return &http.Cookie{
		Name: cookie, Value: value, Path: "/realms/" + realm + "/",
		HttpOnly: true, Secure: f.secure, SameSite: http.SameSiteLaxMode,
	}
}

// mac covers each part with its length, so that no two inputs run together.
func (f *Forms) mac(realm, purpose, browser string, signed []byte) []byte {
	m := hmac.New(sha256.New, f.key)
	for _, part := range [][]byte{[]byte(realm), []byte(purpose), []byte(browser), signed} {
		m.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		m.Write(part)
	}
	return m.Sum(nil)
}
