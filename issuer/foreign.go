package issuer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// This file is about what stands in Keycloak's export of a realm and is not
// here. Nothing of it is dropped in silence: what says what that of a fresh
// realm says changes nothing by not being there; anything else somebody wanted,
// and Foreign refuses it.

// free are the members that may say anything: they are about the file, about
// tokens that Keycloak has issued, which are not good here anyway, or ask for
// less than there is: HTTPS is the configuration's, rotation of refresh tokens
// always.
var free = []string{"id", "keycloakVersion", "notBefore", "displayName", "displayNameHtml", "revokeRefreshToken", "sslRequired"}

// freshAttributes are those attributes of a fresh realm that say nothing here,
// with what they say there.
var freshAttributes = map[string]string{
	"cibaBackchannelTokenDeliveryMode": "poll", "cibaExpiresIn": "120", "cibaInterval": "5", "cibaAuthRequestedUserHint": "login_hint",
	"realmReusableOtpCode": "false", "scimApiEnabled": "false",
}

// Foreign reports whether name is a member of Keycloak's realm representation
// that says nothing here. The error is why this value must not be ignored.
func Foreign(name string, value any) (foreign bool, err error) {
	if slices.Contains(free, name) {
		return true, nil
	}
	want, ok := freshMembers[name]
	if !ok {
		return false, nil
	}
	got, err := digest(name, value)
	if err != nil {
		return true, err
	}
	if got != want {
		return true, fmt.Errorf("is not there yet, and only what a fresh realm of Keycloak 26.7 says of it can be ignored")
	}
	return true, nil
}

// digest is that of a member's value without what differs from realm to realm:
// ids, the order of lists, and signing keys, which are made anew here.
func digest(name string, value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	var plain any // as JSON has it, whatever it was read from
	if err := json.Unmarshal(text, &plain); err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	sum := sha256.Sum256([]byte(canonical(plain)))
	return hex.EncodeToString(sum[:6]), nil
}

func canonical(value any) string {
	switch v := value.(type) {
	case map[string]any:
		var members []string
		for name, member := range v {
			if name != "id" && name != "org.keycloak.keys.KeyProvider" {
				members = append(members, fmt.Sprintf("%q:%s", name, canonical(member)))
			}
		}
		slices.Sort(members)
		return "{" + strings.Join(members, ",") + "}"
	case []any:
		items := make([]string, len(v))
		for i := range v {
			items[i] = canonical(v[i])
		}
		slices.Sort(items)
		return "[" + strings.Join(items, ",") + "]"
	default:
		return fmt.Sprintf("%#v", v)
	}
}
