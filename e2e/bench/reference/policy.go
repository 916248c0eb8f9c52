package reference

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/loader"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/tegata/tegata/policies"
)

// prepare compiles the shipped policy and reads the route templates of its table.
func prepare(ctx context.Context) (rego.PreparedEvalQuery, []route, error) {
	var none rego.PreparedEvalQuery
	tests := func(path string, _ fs.FileInfo, _ int) bool { return strings.HasSuffix(path, "_test.rego") }
	files, err := loader.NewFileLoader().WithFS(policies.FS).Filtered([]string{"."}, tests)
	if err != nil {
		return none, nil, err
	}
	compiler, err := files.Compiler()
	if err != nil {
		return none, nil, err
	}
	store, err := files.Store()
	if err != nil {
		return none, nil, err
	}
	query, err := rego.New(rego.Query("data.envoy.authz.allow"), rego.Compiler(compiler), rego.Store(store)).PrepareForEval(ctx)
	if err != nil {
		return none, nil, err
	}
	tegata, _ := files.Documents["tegata"].(map[string]any)
	table, _ := tegata["routes"].(map[string]any)
	if len(table) == 0 {
		return none, nil, fmt.Errorf("no data.tegata.routes in the shipped policy")
	}
	return query, newRoutes(table), nil
}

// route is one template of the table, "/orders/{id}", in segments.
type route struct {
	template string
	segments []string
}

func newRoutes(table map[string]any) []route {
	routes := make([]route, 0, len(table))
	for template := range table {
		routes = append(routes, route{template, strings.Split(template, "/")})
	}
	// Literals come before variables: "{" sorts after every letter.
	slices.SortFunc(routes, func(a, b route) int { return strings.Compare(a.template, b.template) })
	return routes
}

// match is the first template that fits the path.
func match(routes []route, path string) (template string, ok bool) {
	segments := strings.Split(path, "/")
	for _, r := range routes {
		if slices.EqualFunc(r.segments, segments, fits) {
			return r.template, true
		}
	}
	return "", false
}

// fits reports whether one segment of a path is what a template asks for.
func fits(want, got string) bool {
	return want == got || (strings.HasPrefix(want, "{") && got != "")
}
