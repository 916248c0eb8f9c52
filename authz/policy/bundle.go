package policy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
)

// BundleConfig is an OPA bundle (a gzipped tar of Rego and data) as the source
// of a policy. One of File and URL is required.
type BundleConfig struct {
	File string // on disk; read again when it changes
	URL  string // fetched again and again, with If-None-Match

	HTTP     *http.Client  // default: a minute for each request, on top of LongPoll
	Header   http.Header   // sent along, such as Authorization
	LongPoll time.Duration // how long the server may hold a request that has nothing new (Prefer: wait=…); 0: none
	MinDelay time.Duration // between requests, and after the first failure; default 10 s
	MaxDelay time.Duration // after failures in a row; default 2 min

	// Persist is a file for the last good bundle of a URL: what serves at a
	// start while the server is away. Empty: none.
	Persist string

	// Keys verify a bundle's .signatures.json, by key id. With keys, a bundle
	// without a good signature of one of them is refused.
	Keys  map[string]BundleKey
	Scope string // that signatures must name, if not empty
}

// BundleKey is a public key that bundles are signed with.
type BundleKey struct {
	PEM       string
	Algorithm string // RS256 (default), RS384, RS512, PS256 …, ES256, ES384, ES512
}

// bundleAlgorithms are the signatures that are believed: asymmetric ones.
var bundleAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}

const (
	maxBundle       = 64 << 20 // bytes, gzipped; and of each file in it
	bundleTimeout   = time.Minute
	defaultMinDelay = 10 * time.Second
	defaultMaxDelay = 2 * time.Minute
)

// parseBundle reads and verifies a bundle. What it cannot honour it refuses:
// wasm would be another policy than the Rego beside it, a delta has no meaning
// without what it is one of.
func (c *BundleConfig) parseBundle(b []byte) (sources, error) {
	reader := bundle.NewCustomReader(bundle.NewTarballLoaderWithBaseURL(bytes.NewReader(b), "")).
		WithRegoVersion(ast.RegoV1).
		WithSizeLimitBytes(maxBundle)
	if len(c.Keys) == 0 {
		reader = reader.WithSkipBundleVerification(true)
	} else {
		keys := make(map[string]*bundle.KeyConfig, len(c.Keys))
		for id, k := range c.Keys {
			keys[id] = &bundle.KeyConfig{Key: k.PEM, Algorithm: cmp.Or(k.Algorithm, "RS256"), Scope: c.Scope}
		}
		reader = reader.WithBundleVerificationConfig(bundle.NewVerificationConfig(keys, "", c.Scope, nil))
	}
	read, err := reader.Read()
	switch {
	case err != nil:
		return sources{}, fmt.Errorf("reading the bundle: %w", err)
	case read.Type() == bundle.DeltaBundleType:
		return sources{}, errors.New("reading the bundle: it is a delta; only whole bundles are taken")
	case len(read.WasmModules) > 0 || len(read.PlanModules) > 0 || len(read.Manifest.WasmResolvers) > 0:
		return sources{}, errors.New("reading the bundle: it holds wasm or plans; build it with target rego")
	}
	s := sources{parsed: make(map[string]*ast.Module, len(read.Modules)), tree: read.Data}
	for _, m := range read.Modules {
		if !strings.HasSuffix(m.Path, "_test.rego") {
			s.parsed[m.Path] = m.Parsed
		}
	}
	sum := sha256.Sum256(b)
	s.revision = hex.EncodeToString(sum[:])[:12]
	if named := read.Manifest.Revision; named != "" {
		s.revision = named + "@" + s.revision // a name given twice hides nothing
	}
	return s, nil
}

// check finds what could never work.
func (c *BundleConfig) check() error {
	if (c.File == "") == (c.URL == "") {
		return errors.New("a bundle needs one of File and URL")
	}
	for id, k := range c.Keys {
		algorithm := cmp.Or(k.Algorithm, "RS256")
		known := false
		for _, a := range bundleAlgorithms {
			known = known || a == algorithm
		}
		if !known {
			return fmt.Errorf("bundle key %q: algorithm %q is not one of %s", id, algorithm, strings.Join(bundleAlgorithms, ", "))
		}
	}
	return nil
}

// readFile reads a bundle from disk.
func (c *BundleConfig) readFile(path string) (sources, error) {
	file, err := os.Open(path)
	if err != nil {
		return sources{}, fmt.Errorf("reading the bundle: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(file, maxBundle+1))
	if err != nil {
		return sources{}, fmt.Errorf("reading the bundle: %w", err)
	}
	if len(b) > maxBundle {
		return sources{}, fmt.Errorf("reading the bundle: more than %d MiB", maxBundle>>20)
	}
	return c.parseBundle(b)
}

// fetcher follows a bundle at a URL.
type fetcher struct {
	c    BundleConfig
	etag string // of the last bundle that was good
	last sources
}

func newFetcher(c BundleConfig) *fetcher {
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: bundleTimeout + c.LongPoll}
	}
	c.MinDelay = cmp.Or(c.MinDelay, defaultMinDelay)
	c.MaxDelay = max(cmp.Or(c.MaxDelay, defaultMaxDelay), c.MinDelay)
	return &fetcher{c: c}
}

// fetch asks once. The answer is the last good bundle, new or not; held says
// that the server answers long polls.
func (f *fetcher) fetch(ctx context.Context, wait time.Duration) (s sources, held bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.c.URL, nil)
	if err != nil {
		return sources{}, false, fmt.Errorf("fetching the bundle: %w", err)
	}
	for name, values := range f.c.Header {
		req.Header[name] = values
	}
	prefer := "modes=snapshot"
	if wait > 0 {
		prefer += ";wait=" + strconv.Itoa(int(wait/time.Second))
	}
	req.Header.Set("Prefer", prefer)
	if f.etag != "" {
		req.Header.Set("If-None-Match", f.etag)
	}
	resp, err := f.c.HTTP.Do(req)
	if err != nil {
		return sources{}, false, fmt.Errorf("fetching the bundle: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	// A server that can hold requests says so by the type of its answers, as
	// OPA's bundle service protocol has it.
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	held = wait > 0 && kind == "application/vnd.openpolicyagent.bundles"
	switch resp.StatusCode {
	case http.StatusNotModified:
		return f.last, held, nil
	case http.StatusOK:
	default:
		return sources{}, false, fmt.Errorf("fetching the bundle: the server says %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBundle+1))
	if err != nil {
		return sources{}, false, fmt.Errorf("fetching the bundle: %w", err)
	}
	if len(b) > maxBundle {
		return sources{}, false, fmt.Errorf("fetching the bundle: more than %d MiB", maxBundle>>20)
	}
	if s, err = f.c.parseBundle(b); err != nil {
		return sources{}, held, err
	}
	f.etag, f.last = resp.Header.Get("ETag"), s
	return s, held, f.persist(b)
}

// persist keeps the bundle for a start without the server. Whoever reads it
// sees the old one or the new one.
func (f *fetcher) persist(b []byte) error {
	if f.c.Persist == "" {
		return nil
	}
	next := f.c.Persist + ".next"
	if err := errors.Join(os.WriteFile(next, b, 0o600), os.Rename(next, f.c.Persist)); err != nil {
		return fmt.Errorf("keeping the bundle: %w", err)
	}
	return nil
}

// first is the bundle to begin with: the server's, or the one that was kept.
func (f *fetcher) first(ctx context.Context) (sources, error) {
	s, _, err := f.fetch(ctx, 0)
	if err == nil || f.c.Persist == "" {
		return s, err
	}
	kept, keptErr := f.c.readFile(f.c.Persist)
	if keptErr != nil {
		return sources{}, errors.Join(err, keptErr)
	}
	f.last = kept
	return kept, nil
}

// run fetches until ctx ends and hands each answer on. After a failure it waits
// longer each time, half of it jitter.
func (f *fetcher) run(ctx context.Context, on func(sources, error)) {
	delay := f.c.MinDelay
	for {
		pause := delay/2 + rand.N(delay/2+1)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		s, held, err := f.fetch(ctx, f.c.LongPoll)
		if ctx.Err() != nil {
			return
		}
		on(s, err)
		switch {
		case err != nil:
			delay = min(2*delay, f.c.MaxDelay)
		case held:
			delay = time.Millisecond // the server does the waiting
		default:
			delay = f.c.MinDelay
		}
	}
}
