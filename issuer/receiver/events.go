package receiver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/internal/jwks"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
	"github.com/tegata/tegata/revocation"
	"github.com/tegata/tegata/revocation/ssf"
)

// eventError is an error about one SET, in the words of RFC 8935 §2.3 (and of
// setErrs, RFC 8936 §2.6).
type eventError struct {
	Code        string `json:"err"`
	Description string `json:"description"`
	status      int
	cause       error
}

func (e *eventError) Error() string { return e.Code + ": " + e.Description }

func (e *eventError) Unwrap() error { return e.cause }

func badEvent(code, description string, cause error) *eventError {
	return &eventError{code, description, http.StatusBadRequest, cause}
}

// push answers one SET that was pushed (RFC 8935 §2).
func (r *receiver) push(w http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	compact, err := r.pushed(req)
	if err == nil {
		err = r.hear(ctx, compact, w, req)
	} else {
		r.count(ctx, ByEvent, Refused, err)
	}
	var bad *eventError
	switch {
	case err == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusAccepted)
	case errors.As(err, &bad):
		oauth.WriteJSON(w, bad.status, bad)
	case errors.Is(err, jwks.ErrUnavailable):
		oauth.WriteError(w, unavailable(err))
	default:
		oauth.WriteError(w, err)
	}
}

// pushed is the SET of a request.
func (r *receiver) pushed(req *http.Request) (string, error) {
	if want := r.Events.Authorization; want != "" && !same(req.Header.Get("Authorization"), want) {
		return "", &eventError{"authentication_failed", "The Authorization is not the one agreed upon", http.StatusUnauthorized, nil}
	}
	if media, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type")); media != "application/"+ssf.Type {
		return "", badEvent("invalid_request", "Content-Type must be application/"+ssf.Type, nil)
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, jose.MaxCompact+1))
	if err != nil || len(body) > jose.MaxCompact {
		return "", badEvent("invalid_request", "The body cannot be read, or is too large", err)
	}
	return string(body), nil
}

// same compares secrets of any length in constant time.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// hear does what one SET says. It returns after the commit: nil means that it
// need not be said again, an *eventError that it need not either.
func (r *receiver) hear(ctx context.Context, compact string, w http.ResponseWriter, req *http.Request) error {
	set, err := r.readEvents(ctx, compact)
	var bad *eventError
	if err != nil {
		result := Failed
		if errors.As(err, &bad) {
			result = Refused
		}
		r.count(ctx, ByEvent, result, err)
		return err
	}
	ends, outcomes := r.ends(ctx, set)
	if len(ends) > 0 {
		err = r.revoke(ctx, ends, "event "+set.ID, set.IssuedAt.Add(r.MaxTokenLifetime), w, req)
		if errors.Is(err, session.ErrReplayed) { // a transmitter that has not heard our answer (RFC 8935 §2)
			r.count(ctx, ByEvent, Repeated, nil)
			return nil
		}
		if err != nil {
			r.count(ctx, ByEvent, Failed, err)
			return err
		}
	}
	for _, o := range outcomes {
		r.count(ctx, ByEvent, Result(o), nil)
	}
	return nil
}

// ends are the revocations that the events of a SET call for.
func (r *receiver) ends(ctx context.Context, set ssf.Token) (ends []revocation.Record, outcomes []ssf.Outcome) {
	m := ssf.Mapping{
		Issuer: r.Issuer, Transmitter: r.Events.Issuer, SessionAsSubject: r.SessionAsSubject, EmailIsSubject: r.Events.EmailIsSubject,
	}
	for _, e := range set.Events {
		records, o := m.Records(e)
		ends, outcomes = append(ends, records...), append(outcomes, o)
		switch o {
		case ssf.Unmapped:
			r.c.Logger.WarnContext(ctx, "an event is about nobody that tokens name: nothing is revoked",
				"receiver", r.Name, "event", e.Type, "format", e.Subject.Format, "jti", set.ID)
		case ssf.Control, ssf.NoEffect:
			r.c.Logger.InfoContext(ctx, "an event without effect", "receiver", r.Name, "event", e.Type, "jti", set.ID)
		}
	}
	return ends, outcomes
}

// readEvents verifies a SET (RFC 8935 §2: as RFC 7519 §7.2 and RFC 8417 say).
func (r *receiver) readEvents(ctx context.Context, compact string) (ssf.Token, error) {
	payload, err := r.verified(ctx, r.eventKeys, compact, ssf.Type)
	switch {
	case errors.Is(err, jose.ErrUnknownKey), errors.Is(err, jose.ErrSignature), errors.Is(err, jose.ErrAlgorithm):
		return ssf.Token{}, badEvent("invalid_key", "The SET is not signed by a key of its issuer", err)
	case isVerdict(err):
		return ssf.Token{}, badEvent("invalid_request", "The SET cannot be read", err)
	case err != nil:
		return ssf.Token{}, err
	}
	set, err := ssf.Read(payload)
	now := r.c.Now()
	switch {
	case err != nil:
		return ssf.Token{}, badEvent("invalid_request", "The SET cannot be read", err)
	case set.Issuer != r.Events.Issuer:
		return ssf.Token{}, badEvent("invalid_issuer", "The SET is of another issuer", nil)
	case !slices.Contains(set.Audience, r.Events.Audience):
		return ssf.Token{}, badEvent("invalid_audience", "The SET is for somebody else", nil)
	case set.IssuedAt.After(now.Add(skew)):
		return ssf.Token{}, badEvent("invalid_request", "The SET is of the future", nil)
	case !set.Expires.IsZero() && !now.Before(set.Expires):
		return ssf.Token{}, badEvent("invalid_request", "The SET has expired", nil)
	}
	return set, nil
}
