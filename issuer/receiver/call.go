package receiver

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/revocation"
)

// maxCall is the largest body of a call, in bytes.
const maxCall = 8 << 10

// kinds are the targets by the names that calls use.
var kinds = map[string]revocation.Kind{
	"token": revocation.KindToken, "session": revocation.KindSession, "client_session": revocation.KindClientSession,
	"subject": revocation.KindSubject, "client": revocation.KindClient, "issuer": revocation.KindIssuer, "key": revocation.KindKey,
}

// order is the body of a call: what to revoke.
type order struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`     // jti, sid, sub, azp or kid; none for an issuer
	Client string `json:"client"` // azp, of a client_session
	// IssuedBefore is up to when tokens of a subject, client or issuer were
	// issued that die, in Unix seconds; 0: now.
	IssuedBefore int64 `json:"issued_before"`
}

// call answers one order of a client of ours.
func (r *receiver) call(w http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	client, err := r.c.Authorize(req, r.Realm, Scope)
	if err != nil {
		r.count(ctx, ByCall, Refused, err)
		oauth.WriteError(w, err)
		return
	}
	end, err := r.readOrder(req)
	if err != nil {
		r.count(ctx, ByCall, Refused, err)
		oauth.WriteError(w, err)
		return
	}
	ctx = revocation.By(ctx, revocation.ActorClient(client))
	r.c.Logger.InfoContext(ctx, "a client revokes of another issuer", "receiver", r.Name, "client", client)
	if err := r.revoke(ctx, []revocation.Record{end}, "", time.Time{}, w, req); err != nil {
		r.count(ctx, ByCall, Failed, err)
		oauth.WriteError(w, err)
		return
	}
	r.count(ctx, ByCall, Revoked, nil)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (r *receiver) readOrder(req *http.Request) (revocation.Record, error) {
	body, err := io.ReadAll(io.LimitReader(req.Body, maxCall+1))
	if err != nil || len(body) > maxCall {
		return revocation.Record{}, oauth.InvalidRequest("The body cannot be read, or is too large")
	}
	o, err := parseOrder(body)
	if err != nil {
		e := oauth.InvalidRequest("The body must be a JSON object with kind, id, client and issued_before")
		e.Cause = err
		return revocation.Record{}, e
	}
	now := r.c.Now()
	before := now
	if o.IssuedBefore != 0 {
		before = time.Unix(o.IssuedBefore, 0)
	}
	kind, known := kinds[o.Kind]
	switch {
	case !known:
		return revocation.Record{}, oauth.InvalidRequest("kind must be token, session, client_session, subject, client, issuer or key")
	case kind == revocation.KindIssuer && o.ID != "", kind != revocation.KindIssuer && !identifier(o.ID):
		return revocation.Record{}, oauth.InvalidRequest("id does not fit kind")
	case kind != revocation.KindClientSession && o.Client != "", kind == revocation.KindClientSession && !identifier(o.Client):
		return revocation.Record{}, oauth.InvalidRequest("client does not fit kind")
	case o.IssuedBefore < 0 || before.After(now.Add(skew)):
		return revocation.Record{}, oauth.InvalidRequest("issued_before is in the future")
	}
	return revocation.Record{
		Target: revocation.Target{Kind: kind, ID: o.ID, Client: o.Client}, IssuedBefore: before, Reason: revocation.ReasonAdmin,
	}, nil
}

// parseOrder refuses what it does not know: a misspelt member must not widen
// or narrow an order.
func parseOrder(body []byte) (o order, err error) {
	members, err := jose.ReadObject(body)
	if err != nil {
		return o, err
	}
	for name := range members {
		switch name {
		case "kind", "id", "client", "issued_before":
		default:
			return o, errors.New("unknown member")
		}
	}
	return o, json.Unmarshal(body, &o)
}
