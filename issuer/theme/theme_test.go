package theme

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"html/template"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newTheme(t *testing.T) *Theme {
	t.Helper()
	th, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return th
}

func render(t *testing.T, p Page, header http.Header, target string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	if err := newTheme(t).Render(w, r, p); err != nil {
		t.Fatal(err)
	}
	return w
}

// loginData is what login passes.
type loginData struct {
	Action, State, Username, Message string
	Remember, Remembered             bool
}

func TestEveryLanguageHasEveryText(t *testing.T) {
	t.Parallel()
	th := newTheme(t)
	want := slices.Sorted(maps.Keys(th.texts["en"]))
	for lang, texts := range th.texts {
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(texts))); diff != "" {
			t.Errorf("texts of %s (-en +%s):\n%s", lang, lang, diff)
		}
	}
}

func TestPagesSpeakTheReadersLanguage(t *testing.T) {
	t.Parallel()
	tests := []struct{ accept, target, lang, text string }{
		{"", "/", "en", "Sign in to your account"},
		{"ja", "/", "ja", "アカウントにログイン"},
		{"fr-CH, ja-JP;q=0.9, en;q=0.8", "/", "ja", "アカウントにログイン"},
		{"en-GB,en;q=0.9,ja;q=0.1", "/", "en", "Sign in to your account"},
		{"en", "/?ui_locales=ja%20en", "ja", "アカウントにログイン"}, // OpenID Connect Core §3.1.2.1
		{"ja", "/?ui_locales=%ff%00", "ja", "アカウントにログイン"},
		{strings.Repeat("ja,", 100), "/", "en", "Sign in to your account"},
	}
	for _, tt := range tests {
		w := render(t, Page{Name: "login", Data: loginData{}}, http.Header{"Accept-Language": {tt.accept}}, tt.target)
		if got := w.Header().Get("Content-Language"); got != tt.lang {
			t.Errorf("%q %q: Content-Language = %q, want %q", tt.accept, tt.target, got, tt.lang)
		}
		if body := w.Body.String(); !strings.Contains(body, tt.text) || !strings.Contains(body, `lang="`+tt.lang+`"`) {
			t.Errorf("%q %q: page is not in %s:\n%s", tt.accept, tt.target, tt.lang, body)
		}
	}
}

// consentData is what the page consent is given.
type consentData struct {
	Action, State, Client string
	UserCode              string
	Scopes, Details       []string
}

// What the page logging-out is given.
type (
	app        struct{ Name, URL string }
	loggingOut struct {
		Clients []app
		Next    template.URL
	}
)

func TestPagesEscapeWhatOthersSent(t *testing.T) {
	t.Parallel()
	const evil = `"><script>alert(1)</script>`
	pages := []Page{
		{Name: "login", Realm: evil, Data: loginData{Action: evil, State: evil, Username: evil, Message: evil}},
		{Name: "consent", Realm: evil, Data: consentData{evil, evil, evil, evil, []string{evil}, []string{evil}}},
		{Name: "device", Realm: evil, Data: struct{ Action, Message string }{evil, evil}},
		{Name: "device-status", Realm: evil, Data: evil},
		{Name: "error", Realm: evil, Data: evil},
		{Name: "logout-confirm", Realm: evil, Data: struct{ Action, State string }{evil, evil}},
		{Name: "logged-out", Realm: evil},
		{Name: "logging-out", Realm: evil, Data: loggingOut{Clients: []app{{evil, "javascript:alert(1)"}}}, Frames: []string{"javascript:alert(1)"}},
		{Name: "form-post", Realm: evil, Data: struct {
			Action string
			Fields []struct{ Name, Value string }
		}{"javascript:alert(1)", []struct{ Name, Value string }{{evil, evil}}}},
	}
	for _, p := range pages {
		body := render(t, p, nil, "/").Body.String()
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "javascript:") {
			t.Errorf("page %s lets markup through:\n%s", p.Name, body)
		}
	}
}

func TestEveryPageHasAPolicyThatItsContentFits(t *testing.T) {
	t.Parallel()
	pages := []Page{
		{Name: "login", Data: loginData{}},
		{Name: "consent", Data: consentData{}},
		{Name: "device", Data: struct{ Action, Message string }{}},
		{Name: "device-status", Data: "x"},
		{Name: "error", Data: "x"},
		{Name: "logged-out"},
		{Name: "logging-out", Data: loggingOut{}},
		{Name: "logout-confirm", Data: struct{ Action, State string }{}},
		{Name: "form-post", Data: struct {
			Action string
			Fields []struct{}
		}{}},
	}
	if len(pages) != len(newTheme(t).templates.Templates())-2 { // layout.html and its head
		t.Fatalf("%d pages tested, templates: %s", len(pages), newTheme(t).templates.DefinedTemplates())
	}
	for _, p := range pages {
		w := render(t, p, nil, "/")
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", p.Name, csp)
		}
		for _, element := range []string{"style", "script"} {
			if content, ok := inline(w.Body.String(), element); ok && !strings.Contains(csp, source([]byte(content))) {
				t.Errorf("%s: policy %q does not name the page's %s", p.Name, csp, element)
			}
		}
		if cc := w.Header().Get("Cache-Control"); !strings.Contains(cc, "no-store") {
			t.Errorf("%s: Cache-Control = %q", p.Name, cc)
		}
	}
}

// inline is the content of a page's element of that name.
func inline(page, element string) (string, bool) {
	_, rest, ok := strings.Cut(page, "<"+element+">")
	content, _, _ := strings.Cut(rest, "</"+element+">")
	return content, ok
}

func TestFormActionAllowsTheWayBackToTheClient(t *testing.T) {
	t.Parallel()
	tests := []struct {
		target, want string
		ok           bool
	}{
		{"", "'self'", true},
		{"https://app.example/cb?x=1", "'self' https://app.example", true},
		{"http://127.0.0.1:8123/cb", "'self' http://127.0.0.1:8123", true},
		{"com.example.app:/cb", "'self' com.example.app:", true},
		{"http://[::1]:8080/cb", "", false},
		{"https://a;script-src%20*/", "", false},
		{"cb", "", false},
	}
	for _, tt := range tests {
		if got, ok := formAction(tt.target); got != tt.want || ok != tt.ok {
			t.Errorf("formAction(%q) = %q, %v; want %q, %v", tt.target, got, ok, tt.want, tt.ok)
		}
	}
}

func TestUnknownTextIsShownAsItIs(t *testing.T) {
	t.Parallel()
	if body := render(t, Page{Name: "error", Data: "No such text."}, nil, "/").Body.String(); !strings.Contains(body, "No such text.") {
		t.Errorf("got\n%s", body)
	}
}

func newForms(t *testing.T, now func() time.Time) *Forms {
	t.Helper()
	f, err := NewForms(bytes.Repeat([]byte{7}, 32), now, rand.Reader, true)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// seal makes a form in a browser that sends the given cookie, or none.
func seal(t *testing.T, f *Forms, sent *http.Cookie, state any) (sealed string, set *http.Cookie) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if sent != nil {
		r.AddCookie(sent)
	}
	w := httptest.NewRecorder()
	sealed, err := f.Seal(w, r, "demo", "login", state, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Result().Cookies() {
		set = c
	}
	return sealed, set
}

func open(f *Forms, cookie *http.Cookie, realm, purpose, sealed string) (string, error) {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	var state string
	err := f.Open(r, realm, purpose, sealed, &state)
	return state, err
}

func TestAFormComesBackOnlyToWhereItWasMade(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	f := newForms(t, func() time.Time { return now })
	sealed, cookie := seal(t, f, nil, "state")
	if cookie == nil || !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/realms/demo/" {
		t.Fatalf("cookie = %v", cookie)
	}
	_, other := seal(t, f, nil, "state")
	tampered := []byte(sealed)
	tampered[len(tampered)-2] ^= 1
	tests := []struct {
		name           string
		cookie         *http.Cookie
		realm, purpose string
		sealed         string
		want           error
	}{
		{"right", cookie, "demo", "login", sealed, nil},
		{"another browser", other, "demo", "login", sealed, ErrForm},
		{"no cookie", nil, "demo", "login", sealed, ErrForm},
		{"another realm", cookie, "demo2", "login", sealed, ErrForm},
		{"another purpose", cookie, "demo", "logout", sealed, ErrForm},
		{"tampered", cookie, "demo", "login", string(tampered), ErrForm},
		{"padded", cookie, "demo", "login", sealed + "=", ErrForm},
		{"empty", cookie, "demo", "login", "", ErrForm},
		{"short", cookie, "demo", "login", base64.RawURLEncoding.EncodeToString(make([]byte, 39)), ErrForm},
		{"huge", cookie, "demo", "login", strings.Repeat("A", MaxForm+4), ErrForm},
	}
	for _, tt := range tests {
		got, err := open(f, tt.cookie, tt.realm, tt.purpose, tt.sealed)
		if !errors.Is(err, tt.want) || (tt.want == nil && got != "state") {
			t.Errorf("%s: got %q, %v; want %v", tt.name, got, err, tt.want)
		}
	}
	now = now.Add(time.Minute)
	if _, err := open(f, cookie, "demo", "login", sealed); !errors.Is(err, ErrExpired) {
		t.Errorf("at its end: got %v, want %v", err, ErrExpired)
	}
}

func TestABrowserKeepsItsFormCookie(t *testing.T) {
	t.Parallel()
	f := newForms(t, time.Now)
	first, cookie := seal(t, f, nil, "first")
	second, again := seal(t, f, cookie, "second")
	if again != nil {
		t.Errorf("a second form set another cookie: two tabs would break each other")
	}
	for want, sealed := range map[string]string{"first": first, "second": second} {
		if got, err := open(f, cookie, "demo", "login", sealed); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if _, replaced := seal(t, f, &http.Cookie{Name: cookie.Name, Value: "short"}, "x"); replaced == nil {
		t.Errorf("a cookie that is not of our making was kept")
	}
}

func FuzzFormsOpen(f *testing.F) {
	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	forms, err := NewForms(bytes.Repeat([]byte{7}, 32), now, bytes.NewReader(make([]byte, 1<<10)), false)
	if err != nil {
		f.Fatal(err)
	}
	w := httptest.NewRecorder()
	sealed, err := forms.Seal(w, httptest.NewRequest(http.MethodGet, "/", nil), "demo", "login", "state", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	cookie := w.Result().Cookies()[0].Value
	f.Add(cookie, sealed)
	f.Add("", "")
	f.Add(cookie, sealed+"A")
	f.Fuzz(func(t *testing.T, value, form string) {
		_, err := open(forms, &http.Cookie{Name: "AUTH_SESSION_ID", Value: value}, "demo", "login", form)
		if err == nil && form != sealed {
			t.Errorf("form %q opened in browser %q", form, value)
		}
	})
}
