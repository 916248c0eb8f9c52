package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tegata/tegata/internal/jwks"
)

// Defaults and limits of introspection.
const (
	defaultAnswerTTL     = 5 * time.Second
	maxAnswerTTL         = 5 * time.Minute
	defaultAnswerTimeout = 2 * time.Second
	maxAnswerTimeout     = 30 * time.Second
	maxAnswer            = 64 << 10        // bytes
	maxQuestions         = 64              // under way at once, of one issuer
	inactiveFor          = 1 * time.Second // how long a refusal is remembered
	maxInactive          = 4096            // refusals remembered, of one issuer
)

// Introspection is how an issuer is asked about its tokens (RFC 7662).
type Introspection struct {
	URL          string // introspection endpoint; https, or http on this machine
	ClientID     string // who asks, by HTTP Basic (RFC 6749 §2.3.1)
	ClientSecret string

	// TTL is how long an active answer is used, never beyond the token's exp;
	// default 5 s, at most 5 min. A revocation that the issuer does not push
	// to us takes as long to be noticed.
	TTL     time.Duration
	Timeout time.Duration // of one question; default 2 s, at most 30 s

	// Opaque makes this the issuer that is asked about tokens that are no
	// JWTs and therefore name none. The only issuer with introspection need
	// not say so.
	Opaque bool
	// OpaqueOnly verifies the issuer's JWTs by its keys all the same.
	OpaqueOnly bool
}

func (i Introspection) withDefaults() (Introspection, error) {
	if err := jwks.CheckURL(i.URL); err != nil {
		return i, err
	}
	switch {
	case i.ClientID == "" || i.ClientSecret == "":
		return i, errors.New("no client: an issuer answers only to one that it knows")
	case i.TTL < 0 || i.TTL > maxAnswerTTL:
		return i, fmt.Errorf("ttl %v, want at most %v", i.TTL, maxAnswerTTL)
	case i.Timeout < 0 || i.Timeout > maxAnswerTimeout:
		return i, fmt.Errorf("timeout %v, want at most %v", i.Timeout, maxAnswerTimeout)
	}
	if i.TTL == 0 {
		i.TTL = defaultAnswerTTL
	}
	if i.Timeout == 0 {
		i.Timeout = defaultAnswerTimeout
	}
	return i, nil
}

// opaqueIssuer names the issuer that is asked about opaque tokens, if there is
// one. Asking them in turn would show each the tokens of the others.
func opaqueIssuer(all []Issuer) (string, error) {
	var asked, opaque []string
	for _, i := range all {
		if i.Introspection == nil {
			continue
		}
		asked = append(asked, i.Issuer)
		if i.Introspection.Opaque {
			opaque = append(opaque, i.Issuer)
		}
	}
	switch {
	case len(opaque) == 1:
		return opaque[0], nil
	case len(opaque) == 0 && len(asked) == 1:
		return asked[0], nil
	case len(asked) == 0:
		return "", nil
	}
	return "", fmt.Errorf("several issuers do introspection (%s): one must be marked as that of opaque tokens", strings.Join(asked, ", "))
}

// isJWT reports whether a token has the looks of a signed JWT: three segments,
// the first of which holds a JSON object. One that looks like it and is broken
// is no opaque token: it may be another issuer's.
func isJWT(compact string) bool {
	header, rest, _ := strings.Cut(compact, ".")
	if strings.Count(rest, ".") != 1 {
		return false
	}
	data, err := base64.RawURLEncoding.DecodeString(header)
	data = bytes.TrimSpace(data)
	return err == nil && len(data) >= 2 && data[0] == '{' && data[len(data)-1] == '}'
}

// introspector asks one issuer. At any time there is one question about a
// token, all others who need the answer wait for it.
type introspector struct {
	c      Introspection
	http   *http.Client
	now    func() time.Time
	asking chan struct{} // holds one for each question under way
	asked  atomic.Uint64

	active, inactive, failed prometheus.Counter

	mu       sync.Mutex // guards what follows
	flights  map[digest]*question
	refusals recent[digest, refusal]
}

// question is one under way; done is closed when the rest is set.
type question struct {
	done  chan struct{}
	entry *entry
	err   error
}

// refusal is why a token was refused, remembered for a moment so that a client
// that insists does not make us ask each time.
type refusal struct {
	err   error
	until time.Time
}

func newIntrospector(i Introspection, issuer string, c Config, m *metrics) *introspector {
	client := *c.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &introspector{
		c: i, http: &client, now: c.Now,
		asking:   make(chan struct{}, maxQuestions),
		active:   m.questions.WithLabelValues(issuer, "active"),
		inactive: m.questions.WithLabelValues(issuer, "inactive"),
		failed:   m.questions.WithLabelValues(issuer, "error"),
		flights:  make(map[digest]*question), refusals: newRecent[digest, refusal](maxInactive, inactiveFor),
	}
}

// introspect finds out what the issuer says about a token. Like a fetch of
// keys it is bounded by a timeout of its own, since others wait for it too;
// ctx bounds the waiting for others, and for one's turn to ask.
func (i *issuer) introspect(ctx context.Context, key digest, compact string, old *entry) (*entry, error) {
	s := i.introspector
	s.mu.Lock()
	now := s.now()
	if r, ok := s.refusals.get(key, now); ok && now.Before(r.until) {
		s.mu.Unlock()
		return nil, r.err
	}
	q, wait := s.flights[key]
	if !wait {
		q = &question{done: make(chan struct{}), err: fmt.Errorf("%w: the question was given up", ErrUnavailable)}
		s.flights[key] = q
	}
	s.mu.Unlock()
	if !wait {
		s.fly(key, q, func() (*entry, error) { return i.ask(ctx, compact, old) })
		return q.entry, q.err
	}
	select {
	case <-q.done:
		return q.entry, q.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %v", ErrUnavailable, ctx.Err())
	}
}

// fly gets the answer and wakes those who wait for it, whatever happens.
func (s *introspector) fly(key digest, q *question, ask func() (*entry, error)) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.flights, key)
		if q.err != nil && !errors.Is(q.err, ErrUnavailable) {
			now := s.now()
			s.refusals.add(key, refusal{q.err, now.Add(min(inactiveFor, s.c.TTL))}, now)
		}
		close(q.done)
	}()
	q.entry, q.err = ask()
}

// ask asks, and reads the answer. An answer that says what the last one said
// keeps the token, and with it what is remembered of its decisions.
func (i *issuer) ask(ctx context.Context, compact string, old *entry) (*entry, error) {
	s := i.introspector
	now, number := s.now(), s.asked.Add(1)
	body, err := s.post(ctx, compact)
	if err != nil {
		s.failed.Inc()
		return nil, fmt.Errorf("%w: asking about a token: %v", ErrUnavailable, err)
	}
	e := &entry{issuer: i, generation: number, answer: sha256.Sum256(body)}
	if old != nil && old.answer == e.answer {
		e.token, e.size = old.token, old.size
	} else if e.token, e.size, err = i.readAnswer(body); err != nil {
		s.count(err)
		return nil, err
	}
	s.active.Inc()
	e.until = now.Add(s.c.TTL)
	if exp := e.token.Expires; !exp.IsZero() && exp.Before(e.until) {
		e.until = exp
	}
	return e, nil
}

func (s *introspector) count(err error) {
	switch {
	case errors.Is(err, ErrUnavailable):
		s.failed.Inc()
	case errors.Is(err, ErrInactive):
		s.inactive.Inc()
	default:
		s.active.Inc() // but not fit for us
	}
}

// enter waits for the question's turn, for as long as there is time for it and
// its caller waits. With nothing to wait for, it does not matter who waits.
func (s *introspector) enter(ctx, caller context.Context) bool {
	select {
	case s.asking <- struct{}{}:
		return true
	default:
	}
	select {
	case s.asking <- struct{}{}:
		if ctx.Err() == nil {
			return true
		}
		<-s.asking // its time came too late
	case <-ctx.Done():
	case <-caller.Done():
	}
	return false
}

// post sends the question (RFC 7662 §2.1) and returns the answer's body. No
// redirect is followed: it would carry the token and our secret elsewhere.
func (s *introspector) post(ctx context.Context, compact string) ([]byte, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), s.c.Timeout)
	defer cancel()
	if !s.enter(ctx, caller) {
		return nil, errors.New("too many questions under way")
	}
	defer func() { <-s.asking }()
	form := url.Values{"token": {compact}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.c.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(s.c.ClientID), url.QueryEscape(s.c.ClientSecret))
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readBody(resp)
}

// readBody takes JSON alone: a signed answer (RFC 9701) would have to be
// verified, and was not asked for.
func readBody(resp *http.Response) ([]byte, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, errors.New("the answer is not application/json")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, errors.New("the answer is too large")
	}
	return body, nil
}

// readAnswer turns an answer (RFC 7662 §2.2) into a Token and says how many
// bytes it takes. What is no answer is the issuer's fault, not the caller's.
func (i *issuer) readAnswer(body []byte) (t *Token, size int, err error) {
	d, err := readDocument(string(body), nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: answer about a token: %v", ErrUnavailable, err)
	}
	active, ok := d.claims["active"].(bool)
	switch {
	case !ok:
		return nil, 0, fmt.Errorf("%w: answer about a token without active", ErrUnavailable)
	case !active:
		return nil, 0, ErrInactive
	case !isAccess(d.claims):
		return nil, 0, fmt.Errorf("%w: no access token, says the issuer", ErrType)
	}
	return i.token(d, "")
}

// isAccess looks at token_type (RFC 6749 §7.1) and at token_use, by which some
// issuers tell refresh tokens, which they call active too.
func isAccess(object map[string]any) bool {
	kind, typed := object["token_type"]
	use, used := object["token_use"]
	name, _ := kind.(string)
	bearing := strings.EqualFold(name, "Bearer") || strings.EqualFold(name, "DPoP")
	return (!typed || bearing) && (!used || use == "access" || use == "access_token")
}
