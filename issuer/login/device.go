package login

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/issuer/theme"
)

// maxUserCode is the longest user code that is looked for, in bytes.
const maxUserCode = 32

// deviceAnswer is RFC 8628 §3.2.
type deviceAnswer struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	CompleteURI     string `json:"verification_uri_complete"`
	ExpiresIn       int64  `json:"expires_in"`
	Interval        int64  `json:"interval"`
}

// StartDevice answers a POST to the device authorization endpoint (RFC 8628
// §3.1).
func (h *Handler) StartDevice(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	c, p, ok := h.caller(w, req, r)
	if !ok {
		return
	}
	wanted, err := deviceRequest(c, p)
	if err != nil {
		oauth.WriteError(w, err)
		return
	}
	own := c.Lifespans()
	life, interval := cmp.Or(own.DeviceCode, r.Settings.DeviceCodeLifespan), cmp.Or(own.DeviceInterval, r.Settings.DevicePollingInterval)
	code, typed, err := h.c.Sessions.StartDevice(req.Context(), r, session.Device{
		ClientID: c.ClientID, Scope: wanted.Scope, Asked: wanted.Asked, Interval: interval,
	}, life)
	if err != nil {
		h.log(req, r, c.ClientID, err)
		oauth.WriteError(w, err)
		return
	}
	oauth.WriteJSON(w, http.StatusOK, deviceAnswer{
		DeviceCode: code, UserCode: typed, VerificationURI: r.Issuer + "/device",
		CompleteURI: r.Issuer + "/device?user_code=" + url.QueryEscape(typed), ExpiresIn: int64(life / time.Second), Interval: int64(interval / time.Second),
	})
}

// deviceRequest is what the device will be granted: scopes, and as in any other
// authorization request resources (RFC 8707 §2) and authorization details
// (RFC 9396 §3).
func deviceRequest(c client.Client, p parameters) (request, error) {
	var q request
	if !c.DeviceFlow() {
		return q, oauth.UnauthorizedClient("Client is not allowed to initiate OAuth 2.0 Device Authorization Grant. The flow is disabled for the client.")
	}
	for _, step := range []func(parameters, client.Client) error{q.readScope, q.readResource, q.readDetails} {
		if err := step(p, c); err != nil {
			return q, err
		}
	}
	return q, nil
}

// devicePage is what the page with the field for the user code shows.
type devicePage struct{ Action, Message string }

// Device answers a GET or POST to the verification URI (RFC 8628 §3.3): the
// page to type a user code in, or what follows a good one, a login if need be
// and in any case consent. A code in a link is as good as a typed one, since
// the consent page shows it and says what it does (§5.4: the person must be
// able to see that the device is not theirs).
func (h *Handler) Device(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	typed := req.URL.Query().Get("user_code")
	if req.Method == http.MethodPost {
		form, err := oauth.ParseForm(req)
		if err != nil {
			h.refuse(w, req, r, &theme.Error{Text: "invalidRequest", Cause: err})
			return
		}
		typed = form["device_user_code"]
	}
	if typed == "" {
		h.askUserCode(w, req, r, "")
		return
	}
	c, q, err := h.device(req, r, typed)
	if errors.Is(err, session.ErrNotFound) {
		h.askUserCode(w, req, r, "invalidUserCode")
		return
	}
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	h.dispatch(w, req, r, c, q)
}

// device is the request of the device that waits under a user code. Who guesses
// (§5.1) finds none any more after some tries, right or wrong.
func (h *Handler) device(req *http.Request, r realm.Realm, typed string) (client.Client, request, error) {
	if len(typed) > maxUserCode || !h.guesses.may(r.Name+" "+oauth.Address(req), h.c.Now()) {
		return client.Client{}, request{}, session.ErrNotFound
	}
	d, err := h.c.Sessions.WaitingDevice(req.Context(), r, typed)
	if errors.Is(err, session.ErrNotFound) {
		h.guesses.failed(r.Name+" "+oauth.Address(req), h.c.Now())
	}
	if err != nil {
		return client.Client{}, request{}, err
	}
	c, err := h.client(req.Context(), r, d.ClientID)
	if err == nil && (!c.Enabled || !c.DeviceFlow()) {
		err = &theme.Error{Text: "clientDisabled"}
	}
	return c, request{ClientID: d.ClientID, Scope: d.Scope, Asked: d.Asked, Device: strings.ToUpper(typed), maxAge: noMaxAge}, err
}

func (h *Handler) askUserCode(w http.ResponseWriter, req *http.Request, r realm.Realm, message string) {
	h.page(w, req, theme.Page{
		Name: "device", Realm: r.Name, Data: devicePage{"/realms/" + url.PathEscape(r.Name) + "/device", message},
	})
}

// decide ends the flow of a device with the page that says so, as Keycloak does:
// loading that page again decides nothing again.
func (h *Handler) decide(w http.ResponseWriter, req *http.Request, r realm.Realm, q request, decision session.Device) {
	err := h.c.Sessions.DecideDevice(req.Context(), r, q.Device, decision)
	if errors.Is(err, session.ErrNotFound) {
		err = &theme.Error{Text: "invalidUserCode", Cause: err}
	}
	if err != nil {
		h.refuse(w, req, r, err)
		return
	}
	status := r.Issuer + "/device/status"
	if decision.Denied {
		status += "?error=" + oauth.CodeAccessDenied
	}
	w.Header().Set("Cache-Control", "no-store, must-revalidate, max-age=0")
	w.Header().Set("Location", status)
	w.WriteHeader(http.StatusFound)
}

// DeviceStatus answers a GET of the page that tells a person how it ended.
func (h *Handler) DeviceStatus(w http.ResponseWriter, req *http.Request, r realm.Realm) {
	text := "deviceDone"
	if req.URL.Query().Get("error") != "" {
		text = "deviceDenied"
	}
	h.page(w, req, theme.Page{Name: "device-status", Realm: r.Name, Data: text})
}

// Guesses of user codes: so many may be wrong from one address in a while.
const (
	guessesMost = 10
	guessesOver = 10 * time.Minute
	guessers    = 16 << 10 // addresses remembered
)

// guesses counts wrong user codes. When full it forgets all, which somebody
// with that many addresses can bring about; what protects then is that there
// are 2^34 codes and each lasts ten minutes.
type guesses struct {
	mu   sync.Mutex // guards wrong
	from map[string]guess
}

type guess struct {
	wrong int
	since time.Time
}

func (g *guesses) may(from string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.from[from]
	return f.wrong < guessesMost || now.Sub(f.since) >= guessesOver
}

func (g *guesses) failed(from string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f, known := g.from[from]
	if !known && len(g.from) >= guessers || g.from == nil {
		g.from = make(map[string]guess)
	}
	if !known || now.Sub(f.since) >= guessesOver {
		f = guess{since: now}
	}
	f.wrong++
	g.from[from] = f
}
