package decisionlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// encoder turns events into JSON. It is used by one goroutine.
type encoder struct {
	labels   map[string]string
	secrets  secrets
	masks    []mask
	rules    func(policy string) Rules
	limit    int
	metrics  *metrics
	complain func(ctx context.Context, what string, err error)
}

func newEncoder(c Config, m *metrics, complain func(context.Context, string, error)) (*encoder, error) {
	masks, err := compileMasks(c.Masks)
	if err != nil {
		return nil, err
	}
	e := &encoder{
		labels: maps.Clone(c.Labels), secrets: newSecrets(c.EraseHeaders), masks: masks,
		rules: c.Rules, limit: c.MaxEvent, metrics: m, complain: complain,
	}
	if e.labels == nil {
		e.labels = map[string]string{} // OPA always has the member
	}
	if e.rules == nil {
		e.rules = func(string) Rules { return Rules{} }
	}
	return e, nil
}

// encode returns the event as JSON, or nil if it is not to be logged. A panic
// of what builds the input costs one event, not the server.
func (e *encoder) encode(ctx context.Context, event *Event) (line []byte) {
	defer func() {
		if p := recover(); p != nil {
			e.metrics.lost(lostEncoding, 1)
			e.complain(ctx, "decision log: event lost", fmt.Errorf("panic: %v", p))
			line = nil
		}
	}()
	d := newDocument(event, e.labels)
	e.fill(ctx, d, event)
	rules := e.rules(event.Policy)
	seen := sync.OnceValues(d.value) // what both rules see
	if e.drop(ctx, seen, rules.Drop) {
		e.metrics.dropped.Inc()
		return nil
	}
	e.mask(ctx, d, seen, rules.Mask)
	line, err := e.marshal(d)
	if err != nil {
		e.metrics.lost(lostEncoding, 1)
		e.complain(ctx, "decision log: event lost", err)
		return nil
	}
	return line
}

// fill adds input and result, without secrets. An event is logged even if they
// cannot be had.
func (e *encoder) fill(ctx context.Context, d *document, event *Event) {
	var err error
	if event.Input != nil {
		var input any
		if input, err = event.Input(); err == nil {
			d.Input, err = plain(input)
		}
	}
	result, resultErr := plain(event.Result)
	d.Result = result
	if err := errors.Join(err, resultErr); err != nil {
		e.metrics.incomplete.Inc()
		e.complain(ctx, "decision log: event is incomplete", err)
		d.Error = &problem{"input or result could not be encoded"}
	}
	d.Erased = append(d.Erased, e.secrets.erase(d.Input, "input")...)
	d.Erased = append(d.Erased, e.secrets.erase(d.Result, "result")...)
}

// drop asks the policy. A rule that fails drops nothing, so that a mistake in
// it does not blind the log.
func (e *encoder) drop(ctx context.Context, seen func() (ast.Value, error), rule Rule) bool {
	if rule == nil {
		return false
	}
	answer, err := ask(ctx, seen, rule)
	if err != nil {
		e.metrics.ruleErrors.Inc()
		e.complain(ctx, "decision log: drop rule failed", err)
		return false
	}
	return answer != nil && answer.Compare(ast.Boolean(true)) == 0
}

// mask applies the configured masks and the policy's. A rule that fails erases
// input and result: what it would have hidden is not known.
func (e *encoder) mask(ctx context.Context, d *document, seen func() (ast.Value, error), rule Rule) {
	masks := e.masks
	if rule != nil {
		more, err := masksOf(ctx, seen, rule)
		if err != nil {
			e.metrics.ruleErrors.Inc()
			e.complain(ctx, "decision log: mask rule failed", err)
			d.erase("/input", &d.Input)
			d.erase("/result", &d.Result)
			return
		}
		masks = append(masks[:len(masks):len(masks)], more...)
	}
	for i := range masks {
		masks[i].apply(d)
	}
}

// value is the event as it stands, as a rule's input.
func (d *document) value() (ast.Value, error) {
	b, err := marshal(d)
	if err != nil {
		return nil, err
	}
	v, err := ast.ValueFromReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("reading the event: %w", err)
	}
	return v, nil
}

func ask(ctx context.Context, seen func() (ast.Value, error), rule Rule) (ast.Value, error) {
	v, err := seen()
	if err != nil {
		return nil, err
	}
	return rule(ctx, v)
}

func masksOf(ctx context.Context, seen func() (ast.Value, error), rule Rule) ([]mask, error) {
	answer, err := ask(ctx, seen, rule)
	if err != nil || answer == nil {
		return nil, err
	}
	v, err := ast.JSON(answer)
	if err != nil {
		return nil, fmt.Errorf("reading the masks: %w", err)
	}
	list, err := parseMasks(v)
	if err != nil {
		return nil, err
	}
	return compileMasks(list)
}

// marshal encodes, and makes an event that is too large smaller.
func (e *encoder) marshal(d *document) ([]byte, error) {
	line, err := marshal(d)
	for _, part := range []struct {
		path  string
		value **any
	}{{"/input", &d.Input}, {"/result", &d.Result}} {
		if err == nil && len(line) > e.limit && d.erase(part.path, part.value) {
			e.metrics.incomplete.Inc()
			line, err = marshal(d)
		}
	}
	if err == nil && len(line) > e.limit {
		return nil, fmt.Errorf("an event of %d bytes, more than %d", len(line), e.limit)
	}
	return line, err
}

func marshal(d *document) ([]byte, error) {
	line, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encoding an event: %w", err)
	}
	return line, nil
}

// erase leaves out input or result.
func (d *document) erase(path string, value **any) bool {
	if *value == nil {
		return false
	}
	*value = nil
	d.Erased = append(d.Erased, path)
	return true
}

// plain makes a copy out of maps, slices and scalars, which masks may change.
func plain(v any) (*any, error) {
	switch t := v.(type) {
	case nil:
		return nil, nil
	case bool:
		return &v, nil
	case ast.Value:
		j, err := ast.JSON(t)
		if err != nil {
			return nil, fmt.Errorf("converting a value: %w", err)
		}
		return &j, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a value: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var out any
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("reading a value: %w", err)
	}
	return &out, nil
}
