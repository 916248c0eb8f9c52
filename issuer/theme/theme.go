// Package theme renders the pages that people see, safely, in their language.
// It must not know what a page is for: flow belongs to login and logout.
//
// Templates are html/template, so what users and clients send is escaped by
// where it stands. Every page carries a Content-Security-Policy that allows
// nothing but our own style sheet and, on the one page that needs it, our own
// four-word script, each named by its hash: there is no inline text to inject
// into and no nonce to leak. Pages load nothing; one answer is the whole page.
//
// A page's form carries its state itself, see Forms.
package theme

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/text/language"
)

//go:embed templates texts static
var files embed.FS

// pages are the templates that must exist, checked by New.
var pages = []string{"login", "error", "consent", "device", "device-status", "logout-confirm", "logged-out", "logging-out", "form-post"}

// tongues are the languages there are texts in; the first is the default.
var tongues = []language.Tag{language.English, language.Japanese}

// Theme is the parsed pages and texts.
type Theme struct {
	templates *template.Template
	texts     map[string]map[string]string // language, key
	matcher   language.Matcher
	style     string
	submit    string
	styleHash string // CSP source of style
	scriptSum string // CSP source of submit
}

// New parses everything, so that a mistake shows at start.
func New() (*Theme, error) {
	templates, err := template.ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("parsing templates: %w", err)
	}
	for _, p := range pages {
		if templates.Lookup(p+".html") == nil {
			return nil, fmt.Errorf("template %s.html is missing", p)
		}
	}
	t := &Theme{templates: templates, texts: make(map[string]map[string]string), matcher: language.NewMatcher(tongues)}
	if err := t.readTexts(); err != nil {
		return nil, err
	}
	return t, t.readStatic()
}

func (t *Theme) readTexts() error {
	for _, tag := range tongues {
		data, err := files.ReadFile("texts/" + tag.String() + ".json")
		if err != nil {
			return fmt.Errorf("reading texts: %w", err)
		}
		var texts map[string]string
		if err := json.Unmarshal(data, &texts); err != nil {
			return fmt.Errorf("reading texts of %s: %w", tag, err)
		}
		t.texts[tag.String()] = texts
	}
	return nil
}

func (t *Theme) readStatic() error {
	style, err := files.ReadFile("static/style.css")
	if err != nil {
		return fmt.Errorf("reading style: %w", err)
	}
	submit, err := files.ReadFile("static/submit.js")
	if err != nil {
		return fmt.Errorf("reading script: %w", err)
	}
	t.style, t.styleHash = string(style), source(style)
	t.submit, t.scriptSum = string(submit), source(submit)
	return nil
}

// source is the CSP source expression of an inline element's content.
func source(content []byte) string {
	sum := sha256.Sum256(content)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Page is one page to show.
type Page struct {
	Name   string // of the template: login, consent, device, device-status, error, logout-confirm, logged-out, logging-out, form-post
	Status int    // 0 means 200
	Realm  string // shown to the user
	Data   any    // for the template, as .Data

	// Locales are the languages that the user wants most, as ui_locales has
	// them; empty: as the query of the request says.
	Locales string

	// FormTarget is the URL, besides our own, that the page's form may end at:
	// browsers apply form-action to redirects too. Empty means only our own.
	FormTarget string

	// Frames are the URLs that the page may show in frames; their origins are
	// let through. Empty means none.
	Frames []string
}

// view is what templates see.
type view struct {
	Page
	Lang   string
	Style  template.CSS
	Script template.JS
	texts  []map[string]string // preferred first
}

// T is the text of a key in the user's language; an unknown key is its own
// text, so that a message that comes from elsewhere is shown as it is.
func (v view) T(key string) string {
	for _, texts := range v.texts {
		if text, ok := texts[key]; ok {
			return text
		}
	}
	return key
}

// Scope is what the user is told of a scope: its text, or its name.
func (v view) Scope(name string) string {
	if text := v.T("scope:" + name); text != "scope:"+name {
		return text
	}
	return name
}

// Render writes a page in the language that the request prefers: ui_locales
// (OpenID Connect Core §3.1.2.1), else Accept-Language, else English.
func (t *Theme) Render(w http.ResponseWriter, r *http.Request, p Page) error {
	lang := t.language(r, p.Locales)
	v := view{
		Page: p, Lang: lang,
		Style:  template.CSS(t.style), //nolint:gosec // our own file
		Script: template.JS(t.submit), //nolint:gosec // our own file
		texts:  []map[string]string{t.texts[lang], t.texts[tongues[0].String()]},
	}
	// Into a buffer first: half a page with status 200 helps nobody.
	var page bytes.Buffer
	if err := t.templates.ExecuteTemplate(&page, p.Name+".html", v); err != nil {
		return fmt.Errorf("rendering page %s: %w", p.Name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", lang)
	h.Set("Content-Security-Policy", t.policy(p))
	h.Set("Cache-Control", "no-store, must-revalidate, max-age=0")
	if p.Status != 0 {
		w.WriteHeader(p.Status)
	}
	_, err := w.Write(page.Bytes())
	return err
}

func (t *Theme) language(r *http.Request, locales string) string {
	if locales == "" {
		locales = r.URL.Query().Get("ui_locales")
	}
	_, i := language.MatchStrings(t.matcher, strings.ReplaceAll(limit(locales), " ", ","), limit(r.Header.Get("Accept-Language")))
	return tongues[i].String()
}

// limit keeps what is parsed for a language short.
func limit(s string) string {
	if len(s) > 200 {
		return ""
	}
	return s
}

// policy is the page's Content-Security-Policy.
func (t *Theme) policy(p Page) string {
	directives := []string{
		"default-src 'none'",
		"style-src " + t.styleHash,
		"base-uri 'none'",
		"frame-ancestors 'none'",
	}
	if p.Name == "form-post" {
		directives = append(directives, "script-src "+t.scriptSum)
	}
	if frames := origins(p.Frames); frames != "" {
		directives = append(directives, "frame-src"+frames)
	}
	if action, ok := formAction(p.FormTarget); ok {
		directives = append(directives, "form-action "+action)
	}
	return strings.Join(directives, "; ")
}

// origins are the origins of URLs as CSP sources, each after a space. A URL
// whose origin CSP cannot write is left out, and its frame stays empty.
func origins(urls []string) string {
	var sources strings.Builder
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.ContainsAny(u.Host, "[];, '") {
			continue
		}
		sources.WriteString(" " + u.Scheme + "://" + u.Host)
	}
	return sources.String()
}

// formAction is the value of form-action that lets a form end at target. CSP
// has no way to write an IPv6 host; then, and for what is no URL, the
// directive has to be left out.
func formAction(target string) (string, bool) {
	if target == "" {
		return "'self'", true
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme == "" {
		return "", false
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "'self' " + u.Scheme + ":", true // an app's private scheme, RFC 8252 §7.1
	}
	if strings.ContainsAny(u.Host, "[];, ") {
		return "", false
	}
	return "'self' " + u.Scheme + "://" + u.Host, true
}
