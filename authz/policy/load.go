package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// Limits on what is read from a policy directory.
const (
	maxFiles = 10_000
	maxBytes = 256 << 20
)

// sources is a directory of policies, read whole.
type sources struct {
	revision string            // SHA-256 over names and contents, 12 hex digits
	rego     map[string][]byte // by path
	data     map[string][]byte // .json, .yaml and .yml, by path

	// Of a bundle, which OPA has read: these in place of rego and data.
	parsed map[string]*ast.Module
	tree   map[string]any
}

// readSources reads the Rego and data files of fsys. Tests (_test.rego) and
// hidden files are not policy.
func readSources(fsys fs.FS) (sources, error) {
	s := sources{rego: map[string][]byte{}, data: map[string][]byte{}}
	sum := sha256.New()
	size := 0
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if hidden := name != "." && strings.HasPrefix(path.Base(name), "."); hidden {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		into := s.kind(name)
		if into == nil || entry.IsDir() {
			return nil
		}
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if size += len(content); size > maxBytes || len(s.rego)+len(s.data) >= maxFiles {
			return fmt.Errorf("%s: more than %d files or %d MiB", name, maxFiles, maxBytes>>20)
		}
		into[name] = content
		_, _ = fmt.Fprintf(sum, "%d %s %d ", len(name), name, len(content)) // a hash never fails
		_, _ = sum.Write(content)
		return nil
	})
	if err != nil {
		return sources{}, fmt.Errorf("reading policies: %w", err)
	}
	s.revision = hex.EncodeToString(sum.Sum(nil))[:12]
	return s, nil
}

// kind says which of the maps a file belongs to; nil if to neither.
func (s sources) kind(name string) map[string][]byte {
	switch path.Ext(name) {
	case ".rego":
		if strings.HasSuffix(name, "_test.rego") {
			return nil
		}
		return s.rego
	case ".json", ".yaml", ".yml":
		return s.data
	}
	return nil
}

// modules parses the Rego, version 1.
func (s sources) modules() (map[string]*ast.Module, error) {
	if s.parsed != nil {
		return s.parsed, nil
	}
	modules := make(map[string]*ast.Module, len(s.rego))
	var errs []error
	for name, content := range s.rego {
		m, err := ast.ParseModuleWithOpts(name, string(content), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			errs = append(errs, fmt.Errorf("parsing: %w", err))
			continue
		}
		modules[name] = m
	}
	return modules, errors.Join(errs...)
}

// document builds the data document: each file's content stands at the path
// of its folder, as OPA places it.
func (s sources) document() (map[string]any, error) {
	if s.parsed != nil {
		return s.tree, nil
	}
	root := map[string]any{}
	for name, content := range s.data {
		var value any
		if err := util.Unmarshal(content, &value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if value == nil { // an empty file
			continue
		}
		object, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: data must be an object, not %T", name, value)
		}
		at, err := descend(root, path.Dir(name))
		if err == nil {
			err = mergeInto(at, object)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return root, nil
}

// descend returns the object at the folder's path, making what is missing.
func descend(root map[string]any, folder string) (map[string]any, error) {
	if folder == "." {
		return root, nil
	}
	at := root
	for _, part := range strings.Split(folder, "/") {
		switch below := at[part].(type) {
		case nil:
			made := map[string]any{}
			at[part], at = made, made
		case map[string]any:
			at = below
		default:
			return nil, fmt.Errorf("data.%s is not an object in another file", strings.ReplaceAll(folder, "/", "."))
		}
	}
	return at, nil
}

// mergeInto merges objects; a value given twice is a mistake of the author.
func mergeInto(dst, src map[string]any) error {
	for key, value := range src {
		old, there := dst[key]
		oldObject, a := old.(map[string]any)
		newObject, b := value.(map[string]any)
		switch {
		case !there:
			dst[key] = value
		case a && b:
			if err := mergeInto(oldObject, newObject); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q is given in another file already", key)
		}
	}
	return nil
}
