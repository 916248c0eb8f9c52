package revocation

import (
	"maps"
	"math"
	"time"
	"unsafe"
)

// state is one immutable content of a Set: records in three tables of rising
// size, newest first. A new record goes to the first; a table that is full is
// merged into the next, so that Apply copies little and lookups probe at most
// three tables.
type state struct {
	revision   Revision
	generation uint64
	names      names
	levels     [levels]*table
}

const levels = 3

// How many entries the two upper tables hold. The second also grows with the
// third, so that a million entries are not rewritten for each 16,384 new ones.
const (
	firstLimit  = 256
	secondLimit = 1 << 14
	secondShare = 8 // the second may hold 1/8 of the third
)

// names numbers the issuers and says which kinds of records each has, so that
// a lookup skips the others. The map that a state holds is never changed.
type names struct {
	by   map[string]issuerInfo
	next uint32 // the number of the next new issuer; not reused before a snapshot
}

type issuerInfo struct {
	number uint32
	kinds  uint16 // bit 1<<Kind
}

// manyIssuers is shared by all issuers beyond the 24 bits that an entry has;
// that errs to refuse.
const manyIssuers = 1<<24 - 1

// kindBefore is an entry that carries IssuedBefore of a subject, client or
// issuer record: its kind is the record's plus kindBefore. The two newest-wins
// rules (revision, time) are thus independent.
const kindBefore = 8

func (k Kind) older() bool { return k == KindSubject || k == KindClient || k == KindIssuer }

// Valid reports whether k is a kind that this version knows how to match.
func (k Kind) Valid() bool { return k >= KindToken && k <= KindKey }

func (st *state) entries() int {
	n := 0
	for _, t := range st.levels {
		n += t.len()
	}
	return n
}

func (st *state) len() int {
	n := 0
	for _, t := range st.levels {
		if t != nil {
			n += t.records
		}
	}
	return n
}

func (st *state) bytes() int {
	n := 0
	for _, t := range st.levels {
		if t != nil {
			n += len(t.slots)*int(unsafe.Sizeof(entry{})) + len(t.marks)
		}
	}
	return n
}

func (st *state) expired(now uint32) int {
	n := 0
	for _, t := range st.levels {
		n += t.expired(now)
	}
	return n
}

// add puts records into the first table that has room, merging those above it.
func (st *state) add(records []Record) {
	var pile []entry
	n := st.names
	if !n.know(records) {
		n.by = maps.Clone(n.by)
	}
	st.names, pile = encode(n, make([]entry, 0, st.levels[0].len()+2*len(records)), records)
	limits := [levels]int{firstLimit, max(secondLimit, st.levels[2].len()/secondShare), math.MaxInt}
	for i, t := range st.levels {
		pile = t.appendTo(pile, 0)
		st.levels[i] = nil
		if len(pile) <= limits[i] {
			st.levels[i] = build(0, pile)
			return
		}
	}
}

// compact rewrites everything into the last table, without what expired.
func (st *state) compact(now uint32) {
	pile := make([]entry, 0, st.entries())
	for i, t := range st.levels {
		pile = t.appendTo(pile, now)
		st.levels[i] = nil
	}
	st.levels[levels-1] = build(now, pile)
	st.names = remaining(st.names, pile)
}

// carryOver appends what has not expired by now to a pile that numbers the
// issuers by n.
func (st *state) carryOver(n names, pile []entry, now uint32) (names, []entry) {
	if n.by == nil {
		n.by = make(map[string]issuerInfo)
	}
	number := make(map[uint32]uint32, len(st.names.by))
	for issuer, info := range st.names.by {
		for k := KindToken; k <= KindKey; k++ {
			if info.kinds&(1<<k) != 0 {
				number[info.number] = n.note(issuer, k).number
			}
		}
	}
	for _, t := range st.levels {
		from := len(pile)
		pile = t.appendTo(pile, now)
		for i := from; i < len(pile); i++ {
			e := &pile[i]
			e.meta = e.meta&0xff | number[e.issuer()]<<8
		}
	}
	return n, pile
}

// remaining keeps the issuers that still have entries, by their old numbers.
func remaining(old names, pile []entry) names {
	kinds := make(map[uint32]uint16)
	for i := range pile {
		if k := pile[i].kind(); k < kindBefore {
			kinds[pile[i].issuer()] |= 1 << k
		}
	}
	left := make(map[string]issuerInfo, len(kinds))
	for name, info := range old.by {
		if k := kinds[info.number]; k != 0 {
			left[name] = issuerInfo{number: info.number, kinds: k}
		}
	}
	return names{by: left, next: old.next}
}

// encode appends records in compact form, one or two entries each, and notes their issuers in n, whose
// map it changes if n does not know them all.
func encode(n names, pile []entry, records []Record) (names, []entry) {
	if n.by == nil {
		n.by = make(map[string]issuerInfo)
	}
	for i := range records {
		r := &records[i]
		if !r.Target.Kind.Valid() {
			continue // the watcher refuses these before they come here
		}
		info := n.note(r.Issuer, r.Target.Kind)
		k := keyOf(r.Target.Kind, r.Target.ID, r.Target.Client)
		e := entry{key: k, value: uint64(r.Revision), expires: expiry(r.ExpiresAt)}
		e.meta = meta(info.number, uint8(r.Target.Kind), r.Reason)
		pile = append(pile, e)
		if r.Target.Kind.older() {
			e.value = uint64(seconds(r.IssuedBefore, false))
			e.meta = meta(info.number, uint8(r.Target.Kind)+kindBefore, r.Reason)
			pile = append(pile, e)
		}
	}
	return n, pile
}

// know reports whether noting the records would change nothing.
func (n names) know(records []Record) bool {
	for i := range records {
		if n.by[records[i].Issuer].kinds&(1<<records[i].Target.Kind) == 0 {
			return false
		}
	}
	return true
}

func (n *names) note(issuer string, k Kind) issuerInfo {
	info, ok := n.by[issuer]
	if ok && info.kinds&(1<<k) != 0 {
		return info
	}
	if !ok {
		info.number = n.next
		n.next = min(n.next+1, manyIssuers)
	}
	info.kinds |= 1 << k
	n.by[issuer] = info
	return info
}

// revoked looks for the most specific record that kills t.
func (st *state) revoked(t *Token) (Record, bool) {
	info, ok := st.names.by[t.Issuer]
	if !ok {
		return Record{}, false
	}
	for _, k := range [...]Kind{KindToken, KindSession, KindClientSession, KindSubject, KindClient, KindKey, KindIssuer} {
		if info.kinds&(1<<k) == 0 {
			continue
		}
		id, client, ok := t.claim(k)
		if !ok {
			continue
		}
		if e, ok := st.kills(info.number, k, keyOf(k, id, client), t); ok {
			return e.record(t.Issuer, Target{Kind: k, ID: id, Client: client}), true
		}
	}
	return Record{}, false
}

func (st *state) kills(issuer uint32, k Kind, id key, t *Token) (entry, bool) {
	if !k.older() {
		return st.find(id, tag(issuer, uint8(k)))
	}
	if t.HasRev {
		e, ok := st.find(id, tag(issuer, uint8(k)))
		return e, ok && uint64(t.Rev) < e.value
	}
	before, ok := st.find(id, tag(issuer, uint8(k)+kindBefore))
	if !ok || t.IssuedAt.Unix() > int64(before.value) {
		return entry{}, false
	}
	e, _ := st.find(id, tag(issuer, uint8(k)))
	return e, true
}

// find returns the entry, merged from all tables that have it.
func (st *state) find(id key, tag uint32) (found entry, ok bool) {
	h := place(id, tag)
	for _, t := range st.levels {
		if e := t.find(h, id, tag); e != nil {
			if ok {
				found.merge(e)
			} else {
				found, ok = *e, true
			}
		}
	}
	return found, ok
}

// claim is what a record of kind k is matched against. A token without the
// claim is not matched.
func (t *Token) claim(k Kind) (id, client string, ok bool) {
	switch k {
	case KindToken:
		id = t.ID
	case KindSession:
		id = t.Session
	case KindClientSession:
		return t.Session, t.Client, t.Session != "" && t.Client != ""
	case KindSubject:
		id = t.Subject
	case KindClient:
		id = t.Client
	case KindKey:
		id = t.Key
	case KindIssuer:
		return "", "", true
	}
	return id, "", id != ""
}

// seconds is t in whole Unix seconds within 32 bits; up rounds up.
func seconds(t time.Time, up bool) uint32 {
	s := t.Unix()
	if up && t.Nanosecond() > 0 {
		s++
	}
	return uint32(min(max(s, 0), math.MaxUint32-1))
}

// never is the expiry of a record without one.
const never = math.MaxUint32

func expiry(t time.Time) uint32 {
	if t.IsZero() {
		return never
	}
	return seconds(t, true)
}
