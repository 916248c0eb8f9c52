package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tegata/tegata/policies"
)

// probes is how many of a table's routes are asked for, however many it has:
// the size of the table is measured, not that of a working set.
const probes = 10

// routeTemplate and routePath are the i-th route of a made table, and a request for it.
func routeTemplate(i int) string { return fmt.Sprintf("/service-%d/items/{id}", i) }
func routePath(i int) string     { return fmt.Sprintf("/service-%d/items/42", i) }

// probePaths are spread over a table of so many routes.
func probePaths(routes int) []string {
	paths := make([]string, probes)
	for i := range paths {
		paths[i] = routePath(i * routes / probes)
	}
	return paths
}

// writePolicy writes the shipped policy to a new directory, with a table of so
// many routes instead of its own.
func writePolicy(dir string, routes int) error {
	err := fs.WalkDir(policies.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) != ".rego" || strings.HasSuffix(name, "_test.rego") {
			return err
		}
		b, err := policies.FS.ReadFile(name)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(dir, name), b)
	})
	if err != nil {
		return fmt.Errorf("copying the shipped policy: %w", err)
	}
	type rule struct {
		Scopes []string `json:"scopes"`
	}
	table := make(map[string]map[string]rule, routes)
	for i := range routes {
		table[routeTemplate(i)] = map[string]rule{"GET": {[]string{"orders:read"}}, "PUT": {[]string{"orders:write"}}}
	}
	b, err := json.Marshal(table)
	if err != nil {
		return fmt.Errorf("writing a table of routes: %w", err)
	}
	return writeFile(filepath.Join(dir, "tegata", "routes", "data.json"), b)
}

// writeFile writes a file and the folders above it, in one step for who reads it.
func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// touchPolicy changes a policy in a way that does not change its decisions.
func touchPolicy(dir string, n int) error {
	b, err := policies.FS.ReadFile("tegata/scope/scope.rego")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "tegata", "scope", "scope.rego"), fmt.Appendf(b, "\n# change %d\n", n))
}
