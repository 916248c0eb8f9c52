package userauth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// keycloakData is the credentialData of an exported password (Keycloak 26).
type keycloakData struct {
	Algorithm  string              `json:"algorithm"`
	Iterations uint32              `json:"hashIterations"`
	Parameters map[string][]string `json:"additionalParameters"`
}

// keycloakSecret is its secretData.
type keycloakSecret struct {
	Value string `json:"value"`
	Salt  string `json:"salt"`
}

// FromKeycloak is a password's hash as Keycloak exports it, as one of ours:
// the two members of a credential. Only argon2id, Keycloak's own choice since
// 25, can be taken over.
func FromKeycloak(credentialData, secretData string) (hash string, err error) {
	var data keycloakData
	var secret keycloakSecret
	if json.Unmarshal([]byte(credentialData), &data) != nil || json.Unmarshal([]byte(secretData), &secret) != nil {
		return "", errors.New("credentialData or secretData is no JSON object")
	}
	one := func(name string) string {
		if values := data.Parameters[name]; len(values) == 1 {
			return values[0]
		}
		return ""
	}
	if data.Algorithm != "argon2" || one("type") != "id" || one("version") != "1.3" {
		return "", fmt.Errorf("hash %.40q: want argon2id; give the password a new one", data.Algorithm)
	}
	memory, errMemory := strconv.ParseUint(one("memory"), 10, 32)
	lanes, errLanes := strconv.ParseUint(one("parallelism"), 10, 8)
	salt, errSalt := base64.StdEncoding.DecodeString(secret.Salt)
	key, errKey := base64.StdEncoding.DecodeString(secret.Value)
	if errors.Join(errMemory, errLanes, errSalt, errKey) != nil {
		return "", errHash
	}
	p := phc{cost: cost{memory: uint32(memory), passes: data.Iterations, lanes: uint8(lanes)}, salt: salt, key: key}
	if _, err := parse(p.String()); err != nil {
		return "", err
	}
	return p.String(), nil
}
