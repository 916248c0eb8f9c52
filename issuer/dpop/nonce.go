package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"time"

	"github.com/tegata/tegata/issuer/realm"
)

// nonceLife is how often the nonce changes; one is good for one to two of these.
const nonceLife = 5 * time.Minute

// Offer gives the caller the nonce for its next proof (RFC 9449 §8), readable
// by scripts too.
func (v *Verifier) Offer(r realm.Realm, answer http.Header) {
	answer.Set("DPoP-Nonce", v.nonce(r, v.period()))
	answer.Add("Access-Control-Expose-Headers", "DPoP-Nonce")
}

func (v *Verifier) period() int64 { return v.c.Now().Unix() / int64(nonceLife/time.Second) }

// nonce of a period. It is computed, not kept: every replica makes the same
// one, and nobody else can make the next.
func (v *Verifier) nonce(r realm.Realm, period int64) string {
	mac := hmac.New(sha256.New, v.c.Secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(period)))
	mac.Write([]byte(r.ID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (v *Verifier) isNonce(r realm.Realm, nonce string) bool {
	now := v.period()
	return equal(nonce, v.nonce(r, now)) || equal(nonce, v.nonce(r, now-1))
}
