package policy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// errDecision marks a decision whose form is not that of the OPA-Envoy plugin.
var errDecision = errors.New("decision has the wrong form")

// decode reads a decision in OPA-Envoy's format: a boolean, or an object.
func decode(v ast.Value) (Result, error) {
	if b, ok := v.(ast.Boolean); ok {
		return Result{Allowed: bool(b), Value: v}, nil
	}
	object, ok := v.(ast.Object)
	if !ok {
		return Result{}, fmt.Errorf("%w: %s, want a boolean or an object", errDecision, ast.ValueName(v))
	}
	r := Result{Value: v}
	if object.Get(allowedKey) == nil {
		return Result{}, fmt.Errorf("%w: it has no member allowed", errDecision)
	}
	err := object.Iter(func(key, value *ast.Term) error {
		name, ok := key.Value.(ast.String)
		if !ok {
			return fmt.Errorf("%w: a member's name is not a string", errDecision)
		}
		if err := r.set(string(name), value.Value); err != nil {
			return fmt.Errorf("%w: %s: %w", errDecision, name, err)
		}
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	return r, nil
}

var allowedKey = ast.InternedTerm("allowed")

// set reads one member; unknown ones are the policy's own business.
func (r *Result) set(name string, v ast.Value) (err error) {
	switch name {
	case "allowed":
		r.Allowed, err = boolean(v)
	case "http_status":
		r.Status, err = status(v)
	case "headers":
		r.Headers, err = headers(v)
	case "response_headers_to_add":
		r.ResponseHeadersToAdd, err = headers(v)
	case "request_headers_to_remove":
		r.RequestHeadersToRemove, err = stringsOf(v)
	case "query_parameters_to_set":
		r.QueryParametersToSet, err = stringMap(v)
	case "query_parameters_to_remove":
		r.QueryParametersToRemove, err = stringsOf(v)
	case "body":
		r.Body, err = stringOf(v)
	case "dynamic_metadata":
		r.DynamicMetadata, err = metadata(v)
	case "reasons":
		r.Reasons, err = stringsOf(v)
	case "required_scopes":
		r.RequiredScopes, err = stringsOf(v)
		slices.Sort(r.RequiredScopes)
	case "step_up":
		r.StepUp, err = stepUp(v)
	}
	return err
}

// maxLoginAge bounds max_age, in seconds: ten years.
const maxLoginAge = 10 * 365 * 24 * 3600

// stepUp reads {"acr_values": [...], "max_age": seconds}, one of which is there.
func stepUp(v ast.Value) (*StepUp, error) {
	object, ok := v.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("%s, want an object", ast.ValueName(v))
	}
	var s StepUp
	var err error
	if values := object.Get(ast.InternedTerm("acr_values")); values != nil {
		if s.ACRValues, err = stringsOf(values.Value); err != nil {
			return nil, fmt.Errorf("acr_values: %w", err)
		}
	}
	if age := object.Get(ast.InternedTerm("max_age")); age != nil {
		n, ok := age.Value.(ast.Number)
		seconds, whole := n.Int()
		if !ok || !whole || seconds < 0 || seconds > maxLoginAge {
			return nil, fmt.Errorf("max_age: %s, want whole seconds", age)
		}
		d := time.Duration(seconds) * time.Second
		s.MaxAge = &d
	}
	if len(s.ACRValues) == 0 && s.MaxAge == nil {
		return nil, errors.New("neither acr_values nor max_age")
	}
	return &s, nil
}

func boolean(v ast.Value) (bool, error) {
	b, ok := v.(ast.Boolean)
	if !ok {
		return false, fmt.Errorf("%s, want a boolean", ast.ValueName(v))
	}
	return bool(b), nil
}

func stringOf(v ast.Value) (string, error) {
	s, ok := v.(ast.String)
	if !ok {
		return "", fmt.Errorf("%s, want a string", ast.ValueName(v))
	}
	return string(s), nil
}

func status(v ast.Value) (int, error) {
	n, ok := v.(ast.Number)
	if !ok {
		return 0, fmt.Errorf("%s, want a number", ast.ValueName(v))
	}
	code, ok := n.Int()
	if !ok || code < 200 || code > 599 {
		return 0, fmt.Errorf("%s is not an HTTP status", n)
	}
	return code, nil
}

// each calls f for the elements of an array or a set.
func each(v ast.Value, f func(ast.Value) error) error {
	on := func(t *ast.Term) error { return f(t.Value) }
	switch v := v.(type) {
	case *ast.Array:
		return v.Iter(on)
	case ast.Set:
		return v.Iter(on)
	}
	return fmt.Errorf("%s, want an array", ast.ValueName(v))
}

func stringsOf(v ast.Value) ([]string, error) {
	var out []string
	err := each(v, func(v ast.Value) error {
		s, err := stringOf(v)
		out = append(out, s)
		return err
	})
	return out, err
}

func stringMap(v ast.Value) (map[string]string, error) {
	object, ok := v.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("%s, want an object", ast.ValueName(v))
	}
	out := make(map[string]string, object.Len())
	return out, object.Iter(func(key, value *ast.Term) error {
		k, err := stringOf(key.Value)
		if err != nil {
			return err
		}
		out[k], err = stringOf(value.Value)
		return err
	})
}

// headers reads an object of name to value or to values, or an array of such.
func headers(v ast.Value) (http.Header, error) {
	out := http.Header{}
	if object, ok := v.(ast.Object); ok {
		return out, addHeaders(out, object)
	}
	return out, each(v, func(v ast.Value) error {
		object, ok := v.(ast.Object)
		if !ok {
			return fmt.Errorf("%s among the elements, want objects", ast.ValueName(v))
		}
		return addHeaders(out, object)
	})
}

func addHeaders(out http.Header, object ast.Object) error {
	return object.Iter(func(key, value *ast.Term) error {
		name, err := stringOf(key.Value)
		if err != nil {
			return err
		}
		if s, ok := value.Value.(ast.String); ok {
			out.Add(name, string(s))
			return nil
		}
		return each(value.Value, func(v ast.Value) error {
			s, err := stringOf(v)
			if err == nil {
				out.Add(name, s)
			}
			return err
		})
	})
}

func metadata(v ast.Value) (map[string]any, error) {
	if _, ok := v.(ast.Object); !ok {
		return nil, fmt.Errorf("%s, want an object", ast.ValueName(v))
	}
	plain, err := ast.JSON(v)
	if err != nil {
		return nil, err
	}
	return plain.(map[string]any), nil
}
