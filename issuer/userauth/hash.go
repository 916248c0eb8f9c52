package userauth

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// cost is what a hash costs to compute.
type cost struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
}

// current is the cost of new hashes: OWASP's first choice for argon2id
// (Password Storage Cheat Sheet), 19 MiB and two passes.
var current = cost{memory: 19 << 10, passes: 2, lanes: 1}

// dearest bounds what a stored hash may ask for, so that an imported one
// cannot take the process's memory.
var dearest = cost{memory: 256 << 10, passes: 16, lanes: 16}

const (
	saltSize = 16
	keySize  = 32
)

var errHash = errors.New("not an argon2id PHC string")

// Hash returns the argon2id hash of a password as a PHC string:
// $argon2id$v=19$m=19456,t=2,p=1$salt$hash.
func Hash(rand io.Reader, password string) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return "", fmt.Errorf("reading salt: %w", err)
	}
	return phc{cost: current, salt: salt, key: current.key(password, salt, keySize)}.String(), nil
}

// Verify reports in constant time whether password is the one that was
// hashed. A string that is no argon2id hash is an error.
func Verify(hash, password string) (bool, error) {
	p, err := parse(hash)
	if err != nil {
		return false, err
	}
	got := p.cost.key(password, p.salt, len(p.key))
	return subtle.ConstantTimeCompare(got, p.key) == 1, nil
}

func (c cost) key(password string, salt []byte, size int) []byte {
	return argon2.IDKey([]byte(password), salt, c.passes, c.memory, c.lanes, uint32(size))
}

// phc is a parsed hash.
type phc struct {
	cost cost
	salt []byte
	key  []byte
}

func (p phc) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.cost.memory, p.cost.passes, p.cost.lanes, b64(p.salt), b64(p.key))
}

// parse reads exactly what String writes, other costs included.
func parse(s string) (phc, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, errHash
	}
	c, err := parseCost(parts[3])
	if err != nil {
		return phc{}, err
	}
	b64 := base64.RawStdEncoding.Strict()
	salt, err := b64.DecodeString(parts[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return phc{}, errHash
	}
	key, err := b64.DecodeString(parts[5])
	if err != nil || len(key) < 16 || len(key) > 64 {
		return phc{}, errHash
	}
	p := phc{cost: c, salt: salt, key: key}
	if p.String() != s {
		return phc{}, errHash
	}
	return p, nil
}

func parseCost(s string) (cost, error) {
	var c cost
	if _, err := fmt.Sscanf(s, "m=%d,t=%d,p=%d", &c.memory, &c.passes, &c.lanes); err != nil {
		return cost{}, errHash
	}
	// RFC 9106 §3.1: at least one pass and lane, and 8 KiB a lane.
	if c.passes < 1 || c.lanes < 1 || c.memory < 8*uint32(c.lanes) {
		return cost{}, errHash
	}
	if c.memory > dearest.memory || c.passes > dearest.passes || c.lanes > dearest.lanes {
		return cost{}, fmt.Errorf("argon2id cost %s is above the limit", s)
	}
	return c, nil
}
