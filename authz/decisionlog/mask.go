package decisionlog

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Operations of a Mask.
const (
	Remove = "remove"
	Upsert = "upsert"
)

// Mask hides a part of an event, as OPA's data.system.log.mask does.
type Mask struct {
	Op    string // Remove (also if empty) or Upsert
	Path  string // JSON pointer below /input or /result; names may be percent-encoded
	Value any    // of Upsert
}

// mask is a Mask that was checked.
type mask struct {
	Mask
	root  string
	parts []string
}

func compileMasks(list []Mask) ([]mask, error) {
	masks := make([]mask, 0, len(list))
	for _, m := range list {
		compiled, err := compileMask(m)
		if err != nil {
			return nil, fmt.Errorf("mask %q: %w", m.Path, err)
		}
		masks = append(masks, compiled)
	}
	return masks, nil
}

func compileMask(m Mask) (mask, error) {
	switch m.Op {
	case "":
		m.Op = Remove
	case Remove, Upsert:
	default:
		return mask{}, fmt.Errorf("op is %q, want remove or upsert", m.Op)
	}
	path, ok := strings.CutPrefix(m.Path, "/")
	if !ok {
		return mask{}, errors.New("a path starts with /")
	}
	parts := strings.Split(path, "/")
	switch parts[0] {
	case "input", "result", "nd_builtin_cache": // the last is OPA's; we have none
	default:
		return mask{}, errors.New("a path starts with /input or /result")
	}
	for _, part := range parts {
		if _, err := url.PathUnescape(part); err != nil {
			return mask{}, fmt.Errorf("reading the path: %w", err)
		}
	}
	if _, err := plain(m.Value); err != nil {
		return mask{}, err
	}
	return mask{Mask: m, root: parts[0], parts: parts[1:]}, nil
}

// parseMasks reads what a policy answered: a list of paths to remove and of
// objects {op, path, value}.
func parseMasks(v any) ([]Mask, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("masks are a set or array, not %T", v)
	}
	masks := make([]Mask, 0, len(list))
	for _, item := range list {
		switch item := item.(type) {
		case string:
			masks = append(masks, Mask{Path: item})
		case map[string]any:
			op, _ := item["op"].(string)
			path, _ := item["path"].(string)
			if op == "" || path == "" {
				return nil, errors.New("a mask has op and path, which are strings")
			}
			masks = append(masks, Mask{Op: op, Path: path, Value: item["value"]})
		default:
			return nil, fmt.Errorf("a mask is a string or an object, not %T", item)
		}
	}
	return masks, nil
}

// apply changes the document and says so in erased or masked. A path that is
// not there is not an error; nor is one through something that has no parts.
func (m *mask) apply(d *document) {
	var at **any
	switch m.root {
	case "input":
		at = &d.Input
	case "result":
		at = &d.Result
	}
	if at == nil || *at == nil {
		return
	}
	switch m.Op {
	case Remove:
		if len(m.parts) == 0 {
			d.erase(m.Path, at)
		} else if node, ok := remove(**at, m.parts); ok {
			*at = &node
			d.Erased = append(d.Erased, m.Path)
		}
	case Upsert:
		value, err := plain(m.Value) // a copy: a later mask may change it
		if err != nil {
			d.erase(m.Path, at) // what cannot be replaced must not stay either
			return
		}
		if value == nil {
			value = new(any)
		}
		if node, ok := upsert(**at, m.parts, *value); ok {
			*at = &node
			d.Masked = append(d.Masked, m.Path)
		}
	}
}

// remove takes the value at a path of at least one part out of a node.
func remove(node any, parts []string) (any, bool) {
	switch n := node.(type) {
	case map[string]any:
		name, ok := member(n, parts[0])
		if !ok {
			return node, false
		}
		if len(parts) == 1 {
			delete(n, name)
			return n, true
		}
		child, ok := remove(n[name], parts[1:])
		n[name] = child
		return n, ok
	case []any:
		i, ok := index(n, parts[0])
		if !ok {
			return node, false
		}
		if len(parts) == 1 {
			return slices.Delete(n, i, i+1), true
		}
		n[i], ok = remove(n[i], parts[1:])
		return n, ok
	}
	return node, false
}

// upsert sets the value at a path, and makes the objects on the way to it.
func upsert(node any, parts []string, value any) (any, bool) {
	if len(parts) == 0 {
		return value, true
	}
	switch n := node.(type) {
	case map[string]any:
		name, ok := member(n, parts[0])
		var child any = map[string]any{}
		if ok {
			child = n[name]
		}
		child, done := upsert(child, parts[1:], value)
		n[name] = child // if that is not done, it was there, and is as it was
		return n, done
	case []any:
		i, ok := index(n, parts[0])
		if !ok {
			return node, false
		}
		n[i], ok = upsert(n[i], parts[1:], value)
		return n, ok
	}
	return node, false
}

// unescaper undoes the escapes of RFC 6901.
var unescaper = strings.NewReplacer("~1", "/", "~0", "~")

// member finds the name that a part of a path stands for: as it is, as OPA
// has it, or unescaped, so that a name with a slash can be said.
func member(n map[string]any, part string) (name string, ok bool) {
	if _, ok := n[part]; ok {
		return part, true
	}
	unescaped, _ := url.PathUnescape(part) // was checked
	for _, name := range []string{unescaped, unescaper.Replace(part)} {
		if _, ok := n[name]; ok {
			return name, true
		}
	}
	return part, false
}

func index(n []any, part string) (int, bool) {
	i, err := strconv.Atoi(part)
	return i, err == nil && i >= 0 && i < len(n)
}
