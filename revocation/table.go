package revocation

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"time"
)

// key is a target's identity in 128 bits: a UUID is its own, anything else is
// a truncated SHA-256. Kind and issuer are compared apart (see entry.meta).
type key struct{ hi, lo uint64 }

// entry is one record, 32 bytes, without pointers for the collector to follow.
type entry struct {
	key
	value   uint64 // revision, or IssuedBefore in Unix seconds (kindBefore)
	expires uint32 // Unix seconds, rounded up; never
	meta    uint32 // issuer number 24 bits, kind 4, reason 4
}

// reasons are numbered for entries; index 0 stands for all others.
var reasons = [...]Reason{
	"", ReasonRevoked, ReasonLogout, ReasonAdmin, ReasonRefreshReuse,
	ReasonCodeReuse, ReasonSessionExpiry, ReasonDisabled, ReasonKeyWithdrawn, ReasonConsent,
	ReasonCredential, ReasonClaims,
}

func tag(issuer uint32, kind uint8) uint32 { return issuer<<8 | uint32(kind)<<4 }

func meta(issuer uint32, kind uint8, r Reason) uint32 {
	for i, known := range reasons {
		if r == known {
			return tag(issuer, kind) | uint32(i)
		}
	}
	return tag(issuer, kind)
}

func (e *entry) tag() uint32    { return e.meta &^ 0xf }
func (e *entry) issuer() uint32 { return e.meta >> 8 }
func (e *entry) kind() uint8    { return uint8(e.meta>>4) & 0xf }

// merge makes e the newest of the two in each respect.
func (e *entry) merge(o *entry) {
	if o.value > e.value {
		e.value, e.meta = o.value, o.meta
	}
	e.expires = max(e.expires, o.expires)
}

func (e *entry) record(issuer string, t Target) Record {
	r := Record{Revision: Revision(e.value), Issuer: issuer, Target: t}
	if i := int(e.meta & 0xf); i < len(reasons) {
		r.Reason = reasons[i]
	}
	if e.expires != never {
		r.ExpiresAt = time.Unix(int64(e.expires), 0)
	}
	return r
}

// keyOf is injective up to collisions of 128 bits of SHA-256.
func keyOf(k Kind, id, client string) key {
	if k != KindClientSession {
		if u, ok := parseUUID(id); ok {
			return u
		}
		return sum(id)
	}
	// sid and azp with the length of the first between: no two pairs agree.
	var buf [160]byte
	b := binary.BigEndian.AppendUint64(buf[:0], uint64(len(id)))
	return sumBytes(append(append(b, id...), client...))
}

func sum(s string) key {
	var buf [128]byte
	return sumBytes(append(buf[:0], s...))
}

func sumBytes(b []byte) key {
	d := sha256.Sum256(b)
	return key{binary.BigEndian.Uint64(d[:8]), binary.BigEndian.Uint64(d[8:16])}
}

// parseUUID reads the one canonical spelling, lower case with four hyphens, so
// that no two strings have one key.
func parseUUID(s string) (k key, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return key{}, false
	}
	bad := byte(0)
	hex := func(v uint64, part string) uint64 {
		for i := range len(part) {
			d := nibbles[part[i]]
			bad |= d
			v = v<<4 | uint64(d&0xf)
		}
		return v
	}
	k.hi = hex(hex(hex(0, s[:8]), s[9:13]), s[14:18])
	k.lo = hex(hex(0, s[19:23]), s[24:])
	return k, bad < 0x10
}

// nibbles holds the value of each lower-case hexadecimal digit, 0x10 for
// everything else.
var nibbles = func() (t [256]byte) {
	for i := range t {
		t[i] = 0x10
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t
}()

// table is an immutable open-addressed hash table. A byte of hash per slot
// (0: empty) is searched first, so that a miss rarely touches the entries.
type table struct {
	marks   []uint8
	slots   []entry
	used    int
	records int               // used, without kindBefore
	ends    map[uint32]uint32 // how many entries expire, by second/endGrain
}

const endGrain = 8

// seed places keys in tables, different in each process so that nobody can
// prepare keys that fall together. What is found does not depend on it.
var seed = maphash.MakeSeed()

type placed struct {
	key
	tag uint32
}

func place(id key, tag uint32) uint64 { return maphash.Comparable(seed, placed{id, tag}) }

func mark(h uint64) uint8 { return uint8(h) | 1 }

func (t *table) len() int {
	if t == nil {
		return 0
	}
	return t.used
}

// build makes a table of what has not expired by now, the newest of each key.
// It fills four fifths of the slots.
func build(now uint32, piles ...[]entry) *table {
	n := 0
	for _, pile := range piles {
		n += len(pile)
	}
	if n == 0 {
		return nil
	}
	n += n/4 + 1
	t := &table{marks: make([]uint8, n), slots: make([]entry, n), ends: make(map[uint32]uint32)}
	for _, pile := range piles {
		for i := range pile {
			if pile[i].expires >= now {
				t.insert(&pile[i])
			}
		}
	}
	for i, m := range t.marks {
		if m != 0 {
			t.ends[t.slots[i].expires/endGrain]++
		}
	}
	return t
}

func (t *table) insert(e *entry) {
	h := place(e.key, e.tag())
	i, m := t.home(h), mark(h)
	for t.marks[i] != 0 {
		if o := &t.slots[i]; t.marks[i] == m && o.key == e.key && o.tag() == e.tag() {
			o.merge(e)
			return
		}
		if i++; i == len(t.marks) {
			i = 0
		}
	}
	t.marks[i], t.slots[i] = m, *e
	t.used++
	if e.kind() < kindBefore {
		t.records++
	}
}

func (t *table) home(h uint64) int {
	hi, _ := bits.Mul64(h, uint64(len(t.marks)))
	return int(hi)
}

func (t *table) find(h uint64, id key, tag uint32) *entry {
	if t == nil {
		return nil
	}
	m := mark(h)
	for i := t.home(h); t.marks[i] != 0; {
		if e := &t.slots[i]; t.marks[i] == m && e.key == id && e.tag() == tag {
			return e
		}
		if i++; i == len(t.marks) {
			i = 0
		}
	}
	return nil
}

// appendTo appends what has not expired by now.
func (t *table) appendTo(pile []entry, now uint32) []entry {
	if t == nil {
		return pile
	}
	for i, m := range t.marks {
		if m != 0 && t.slots[i].expires >= now {
			pile = append(pile, t.slots[i])
		}
	}
	return pile
}

// expired counts what has surely expired by now.
func (t *table) expired(now uint32) int {
	if t == nil {
		return 0
	}
	n := 0
	for end, count := range t.ends {
		if end < now/endGrain {
			n += int(count)
		}
	}
	return n
}
