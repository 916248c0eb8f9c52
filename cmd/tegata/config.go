package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// config is the configuration file. Every key with a single value can be
// overridden by an environment variable and by --set; see docs/operating.md,
// which a test holds to these structs.
type config struct {
	Log    logConfig     `yaml:"log"`
	Issuer *issuerConfig `yaml:"issuer"`
	Authz  *authzConfig  `yaml:"authz"`
	Relay  *relayConfig  `yaml:"relay"`

	doc *document
	set map[string]string // overridden key → by what
}

type logConfig struct {
	Format string `yaml:"format"` // json (default) or text
	Level  string `yaml:"level"`  // debug, info (default), warn, error
}

type issuerConfig struct {
	BaseURL       string        `yaml:"base_url"`
	Listen        string        `yaml:"listen"`
	BehindProxy   bool          `yaml:"behind_proxy"`
	Proxies       []string      `yaml:"trusted_proxies"`
	TLS           tlsConfig     `yaml:"tls"`
	MTLS          mtlsConfig    `yaml:"mtls"`
	Management    string        `yaml:"management"`
	Store         storeConfig   `yaml:"store"`
	KeyFile       string        `yaml:"key_file"`
	OtherKeyFiles []string      `yaml:"other_key_files"`
	Realms        []string      `yaml:"realms"`
	Watch         watchConfig   `yaml:"watch"`
	RevokeWait    time.Duration `yaml:"revoke_wait"`

	Receivers []receiverConfig `yaml:"receivers"`
}

// receiverConfig is another issuer, that tells us of logouts and revocations.
type receiverConfig struct {
	Name             string        `yaml:"name"`
	Issuer           string        `yaml:"issuer"`
	JWKSURL          string        `yaml:"jwks_url"`
	Algorithms       []string      `yaml:"algorithms"`
	ClientIDs        []string      `yaml:"client_ids"`
	MaxTokenLifetime time.Duration `yaml:"max_token_lifetime"`
	Sessions         string        `yaml:"sessions"` // sid (default) or subject
	Realm            string        `yaml:"realm"`
	Events           *eventsConfig `yaml:"events"`
}

// How an issuer's access tokens name their session.
const (
	sessionsBySID     = "sid"
	sessionsBySubject = "subject" // not at all
)

// eventsConfig is how security events come (OpenID SSF 1.0).
type eventsConfig struct {
	Issuer            string      `yaml:"issuer"`
	JWKSURL           string      `yaml:"jwks_url"`
	Audience          string      `yaml:"audience"`
	AuthorizationFile string      `yaml:"authorization_file"`
	EmailIsSubject    bool        `yaml:"email_is_subject"`
	Poll              *pollConfig `yaml:"poll"`
}

// pollConfig is where events are asked for, and as whom (RFC 8936).
type pollConfig struct {
	URL              string   `yaml:"url"`
	TokenFile        string   `yaml:"token_file"`
	TokenURL         string   `yaml:"token_url"`
	ClientID         string   `yaml:"client_id"`
	ClientSecretFile string   `yaml:"client_secret_file"`
	Scopes           []string `yaml:"scopes"`
}

// paths are the files that it names.
func (r *receiverConfig) paths() []*string {
	if r.Events == nil {
		return nil
	}
	paths := []*string{&r.Events.AuthorizationFile}
	if p := r.Events.Poll; p != nil {
		paths = append(paths, &p.TokenFile, &p.ClientSecretFile)
	}
	return paths
}

// mtlsConfig is where clients' certificates come from, if not from the
// connection of every request.
type mtlsConfig struct {
	URL          string `yaml:"url"`            // where TLS asks for them, if not at base_url
	Header       string `yaml:"header"`         // in which the trusted proxies hand them on
	ClientCAFile string `yaml:"client_ca_file"` // of whom, with header
}

// storeConfig is a database file, or a PostgreSQL database if Postgres is set.
type storeConfig struct {
	SQLite           string        `yaml:"sqlite"`
	Postgres         string        `yaml:"postgres"` // URL
	Password         string        `yaml:"password"`
	PasswordFile     string        `yaml:"password_file"`
	Connections      int           `yaml:"connections"`
	StatementTimeout time.Duration `yaml:"statement_timeout"`
}

type watchConfig struct {
	Listen string        `yaml:"listen"`
	TLS    tlsConfig     `yaml:"tls"`
	Lease  time.Duration `yaml:"lease"`
	Realm  string        `yaml:"realm"`
	Peers  []string      `yaml:"peers"`
}

// tlsConfig is a server's side of TLS.
type tlsConfig struct {
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file"` // clients may present a certificate of these
}

type authzConfig struct {
	Listen            string             `yaml:"listen"`
	InsecurePlaintext bool               `yaml:"insecure_plaintext"`
	TLS               tlsConfig          `yaml:"tls"`
	HTTP              httpDoorConfig     `yaml:"http"`
	ExtProc           extProcConfig      `yaml:"ext_proc"`
	Management        string             `yaml:"management"`
	Realm             string             `yaml:"realm"`
	ResourceMetadata  string             `yaml:"resource_metadata"`
	TrustXFCC         bool               `yaml:"trust_xfcc"`
	ErrorResponses    bool               `yaml:"error_responses"`
	DPoP              dpopConfig         `yaml:"dpop"`
	Issuers           []trustedConfig    `yaml:"issuers"`
	Revocations       revocationsConfig  `yaml:"revocations"`
	Relay             relayDoorConfig    `yaml:"relay"`
	OnStale           string             `yaml:"on_stale"`
	Policy            policyConfig       `yaml:"policy"`
	Policies          []namedPolicy      `yaml:"policies"`
	Traces            tracesConfig       `yaml:"traces"`
	DecisionLog       *decisionLogConfig `yaml:"decision_log"`
	Evaluations       int                `yaml:"evaluations"`
	EvaluationWait    time.Duration      `yaml:"evaluation_wait"`
	Drain             time.Duration      `yaml:"drain"`
	GCPercent         int                `yaml:"gc_percent"`
	MemoryLimit       string             `yaml:"memory_limit"`
}

// httpDoorConfig is the door for proxies that ask by HTTP; off without Listen.
type httpDoorConfig struct {
	Listen       string    `yaml:"listen"`
	TLS          tlsConfig `yaml:"tls"`
	TrustedPeers []string  `yaml:"trusted_peers"`
	MaxBody      string    `yaml:"max_body"`
}

// extProcConfig is the door that holds long-lived requests; off without Listen.
type extProcConfig struct {
	Listen string    `yaml:"listen"`
	TLS    tlsConfig `yaml:"tls"`
}

// dpopConfig is how proofs of possession are judged (RFC 9449).
type dpopConfig struct {
	Algorithms      []string      `yaml:"algorithms"`
	MaxAge          time.Duration `yaml:"max_age"`
	Leeway          time.Duration `yaml:"leeway"`
	Scheme          string        `yaml:"scheme"`
	Proofs          int           `yaml:"proofs"` // remembered
	Nonces          bool          `yaml:"nonces"`
	NonceSecretFile string        `yaml:"nonce_secret_file"`
}

// trustedConfig is one issuer whose tokens authz accepts.
type trustedConfig struct {
	Issuer              string        `yaml:"issuer"`
	Audience            []string      `yaml:"audience"`
	Algorithms          []string      `yaml:"algorithms"`
	Types               []string      `yaml:"types"`
	Leeway              time.Duration `yaml:"leeway"`
	JWKSURL             string        `yaml:"jwks_url"`
	ScopeClaim          string        `yaml:"scope_claim"`
	InsecureAnyAudience bool          `yaml:"insecure_any_audience"`
	Revocations         string        `yaml:"revocations"` // watch (default) or none

	Introspection *introspectionConfig `yaml:"introspection"`
}

// How an issuer's revocations arrive.
const (
	watchRevocations = "watch" // on the stream of authz.revocations
	noRevocations    = "none"  // its tokens pass until they expire
)

// introspectionConfig asks an issuer about its tokens (RFC 7662).
type introspectionConfig struct {
	URL              string        `yaml:"url"`
	ClientID         string        `yaml:"client_id"`
	ClientSecret     string        `yaml:"client_secret"`
	ClientSecretFile string        `yaml:"client_secret_file"`
	TTL              time.Duration `yaml:"ttl"`
	Timeout          time.Duration `yaml:"timeout"`
	Opaque           bool          `yaml:"opaque"`
	OpaqueOnly       bool          `yaml:"opaque_only"`
}

// revocationsConfig is where authz hears of revocations, and as whom.
type revocationsConfig struct {
	Address          string          `yaml:"address"`
	Others           []string        `yaml:"others"` // upstreams of the same history, for when Address is lost
	TLS              clientTLSConfig `yaml:"tls"`
	TokenURL         string          `yaml:"token_url"`
	ClientID         string          `yaml:"client_id"`
	ClientSecret     string          `yaml:"client_secret"`
	ClientSecretFile string          `yaml:"client_secret_file"`
	Issuers          []string        `yaml:"issuers"`
}

// paths are the files that it names.
func (r *revocationsConfig) paths() []*string {
	return []*string{&r.TLS.CAFile, &r.TLS.CertFile, &r.TLS.KeyFile, &r.ClientSecretFile}
}

// addresses are where authz or a relay may hear of revocations, the best first.
func (r revocationsConfig) addresses() []string {
	if r.Address == "" {
		return nil
	}
	return append([]string{r.Address}, r.Others...)
}

// relayConfig is tegata relay.
type relayConfig struct {
	Listen      string            `yaml:"listen"`
	TLS         tlsConfig         `yaml:"tls"`
	Peers       []string          `yaml:"peers"`
	Lease       time.Duration     `yaml:"lease"`
	Management  string            `yaml:"management"`
	Revocations revocationsConfig `yaml:"revocations"`
}

func (r relayConfig) door() relayDoorConfig {
	return relayDoorConfig{Listen: r.Listen, TLS: r.TLS, Peers: r.Peers, Lease: r.Lease}
}

// relayDoorConfig is where the watchers below an authz come; off without Listen.
type relayDoorConfig struct {
	Listen string        `yaml:"listen"`
	TLS    tlsConfig     `yaml:"tls"`
	Peers  []string      `yaml:"peers"`
	Lease  time.Duration `yaml:"lease"`
}

// clientTLSConfig is a client's side of TLS; CAFile switches it on.
type clientTLSConfig struct {
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

func (t clientTLSConfig) on() bool { return t != clientTLSConfig{} }
func (t tlsConfig) on() bool       { return t.CertFile != "" || t.KeyFile != "" }

type policyConfig struct {
	Dir      string        `yaml:"dir"`
	Entry    string        `yaml:"entry"`
	Deadline time.Duration `yaml:"deadline"`
	Mode     string        `yaml:"mode"`   // enforce (default) or shadow
	Tokens   string        `yaml:"tokens"` // checked (default) or left
	Bundle   *bundleConfig `yaml:"bundle"`
}

// bundleConfig is an OPA bundle in place of a directory.
type bundleConfig struct {
	File      string        `yaml:"file"`
	URL       string        `yaml:"url"`
	TokenFile string        `yaml:"token_file"`
	LongPoll  time.Duration `yaml:"long_poll"`
	MinDelay  time.Duration `yaml:"min_delay"`
	MaxDelay  time.Duration `yaml:"max_delay"`
	Persist   string        `yaml:"persist"`
	Keys      []bundleKey   `yaml:"keys"`
	Scope     string        `yaml:"scope"`
}

type bundleKey struct {
	ID        string `yaml:"id"`
	File      string `yaml:"file"`
	Algorithm string `yaml:"algorithm"`
}

// paths are the files that it names.
func (b *bundleConfig) paths() []*string {
	if b == nil {
		return nil
	}
	paths := []*string{&b.File, &b.TokenFile, &b.Persist}
	for n := range b.Keys {
		paths = append(paths, &b.Keys[n].File)
	}
	return paths
}

// tracesConfig is where spans are sent to; off without OTLP.
type tracesConfig struct {
	OTLP     string  `yaml:"otlp"`
	Insecure bool    `yaml:"insecure"`
	Ratio    float64 `yaml:"ratio"`
}

// decisionLogConfig is where decisions are written to; off without the section.
type decisionLogConfig struct {
	Console      bool                  `yaml:"console"`
	File         decisionLogFile       `yaml:"file"`
	HTTP         decisionLogHTTP       `yaml:"http"`
	OTLP         decisionLogService    `yaml:"otlp"`
	Labels       map[string]string     `yaml:"labels"`
	DropAllowed  bool                  `yaml:"drop_allowed"`
	DropRoutes   []string              `yaml:"drop_routes"`
	Sample       map[string]float64    `yaml:"sample"`
	EraseHeaders []string              `yaml:"erase_headers"`
	Mask         []decisionLogMaskRule `yaml:"mask"`
}

type decisionLogFile struct {
	Path    string `yaml:"path"`
	MaxSize string `yaml:"max_size"`
	Keep    int    `yaml:"keep"`
}

// decisionLogHTTP is a service with OPA's decision log API.
type decisionLogHTTP struct {
	URL        string `yaml:"url"`
	Partition  string `yaml:"partition"`
	TokenFile  string `yaml:"token_file"`
	BufferDir  string `yaml:"buffer_dir"`
	BufferSize string `yaml:"buffer_size"`
}

// service is c without what is OPA's.
func (c decisionLogHTTP) service() decisionLogService {
	return decisionLogService{URL: c.URL, TokenFile: c.TokenFile, BufferDir: c.BufferDir, BufferSize: c.BufferSize}
}

// decisionLogService is where decisions are uploaded to; off without URL.
type decisionLogService struct {
	URL        string `yaml:"url"`
	TokenFile  string `yaml:"token_file"`
	BufferDir  string `yaml:"buffer_dir"`
	BufferSize string `yaml:"buffer_size"`
}

type decisionLogMaskRule struct {
	Path  string `yaml:"path"`
	Op    string `yaml:"op"`
	Value any    `yaml:"value"`
}

// namedPolicy is one of several policies, and the requests that it is for.
type namedPolicy struct {
	Name         string            `yaml:"name"`
	Hosts        []string          `yaml:"hosts"`
	Paths        []string          `yaml:"paths"`
	Destinations []string          `yaml:"destinations"`
	Extensions   map[string]string `yaml:"extensions"`
	Dir          string            `yaml:"dir"`
	Entry        string            `yaml:"entry"`
	Deadline     time.Duration     `yaml:"deadline"`
	Mode         string            `yaml:"mode"`
	Tokens       string            `yaml:"tokens"`
	Bundle       *bundleConfig     `yaml:"bundle"`
}

func (p namedPolicy) policy() policyConfig {
	return policyConfig{Dir: p.Dir, Entry: p.Entry, Deadline: p.Deadline, Mode: p.Mode, Tokens: p.Tokens, Bundle: p.Bundle}
}

// loadConfig reads the file, applies overrides (the environment, then sets in
// their order), fills defaults, makes paths relative to the file and checks
// everything that can be checked without acting.
func loadConfig(path string, lookupEnv func(string) (string, bool), sets []string) (*config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, withHint(fmt.Errorf("reading the configuration: %w", err), "write one as in docs/operating.md and name it with --config")
	}
	c := &config{set: map[string]string{}}
	if c.doc, err = decodeStrict(path, b, c); err != nil {
		return nil, err
	}
	if err := c.override(lookupEnv, sets); err != nil {
		return nil, err
	}
	c.defaults()
	c.resolve(filepath.Dir(path))
	return c, c.check()
}

// override applies environment variables and --set to scalar keys.
func (c *config) override(lookupEnv func(string) (string, bool), sets []string) error {
	for _, key := range scalarKeys(reflect.TypeFor[config](), "") {
		name := envName(key)
		if text, ok := lookupEnv(name); ok {
			if err := c.setKey(key, text, name); err != nil {
				return err
			}
		}
	}
	for _, s := range sets {
		key, text, ok := strings.Cut(s, "=")
		if !ok {
			return usagef("--set wants key=value, got %q", s)
		}
		if !slices.Contains(scalarKeys(reflect.TypeFor[config](), ""), key) {
			return &configError{where: "--set", key: key, what: "unknown key, or one that is a list or section", fix: "keys are those of the file, joined by dots: authz.listen"}
		}
		if err := c.setKey(key, text, "--set"); err != nil {
			return err
		}
	}
	return nil
}

// envName is the environment variable of a key: authz.policy.dir is TEGATA_AUTHZ_POLICY_DIR.
func envName(key string) string {
	return "TEGATA_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// scalarKeys lists the keys that hold one value.
func scalarKeys(t reflect.Type, path string) []string {
	var keys []string
	for f := range fields(t) {
		key := join(path, keyOf(f))
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		switch ft.Kind() {
		case reflect.Struct:
			keys = append(keys, scalarKeys(ft, key)...)
		case reflect.Slice, reflect.Map:
		default:
			keys = append(keys, key)
		}
	}
	return keys
}

// setKey sets one scalar from text.
func (c *config) setKey(key, text, by string) error {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(key, ".") {
		f, _ := fieldOf(v.Type(), name)
		v = v.FieldByIndex(f.Index)
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
	}
	if err := setScalar(v, text); err != nil {
		return &configError{where: by, key: key, what: "wants " + typeName(v.Type()) + ", got " + strconv.Quote(text)}
	}
	c.set[key] = by
	return nil
}

func setScalar(v reflect.Value, text string) error {
	if _, ok := v.Interface().(time.Duration); ok {
		d, err := time.ParseDuration(text)
		v.SetInt(int64(d))
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		v.SetFloat(f)
		return err
	default:
		n, err := strconv.Atoi(text)
		v.SetInt(int64(n))
		return err
	}
}

// defaults fills what was left out. Names and values are in docs/operating.md.
func (c *config) defaults() {
	def(&c.Log.Format, "json")
	def(&c.Log.Level, "info")
	if i := c.Issuer; i != nil {
		def(&i.Listen, "127.0.0.1:8080")
		def(&i.Management, "127.0.0.1:8081")
		if i.Store.Postgres == "" {
			def(&i.Store.SQLite, "tegata.db")
		}
		def(&i.Store.Connections, 16)
		def(&i.Store.StatementTimeout, 10*time.Second)
		def(&i.KeyFile, "tegata-seal.key")
		def(&i.Watch.Listen, "127.0.0.1:8082")
		def(&i.Watch.Lease, 5*time.Second)
		def(&i.RevokeWait, time.Second)
		for n := range i.Receivers {
			def(&i.Receivers[n].MaxTokenLifetime, 24*time.Hour)
			def(&i.Receivers[n].Sessions, sessionsBySID)
		}
	}
	if a := c.Authz; a != nil {
		def(&a.Listen, "127.0.0.1:9191")
		def(&a.Management, "127.0.0.1:9192")
		def(&a.OnStale, "deny")
		def(&a.HTTP.MaxBody, "64KiB")
		def(&a.Policy.Mode, "enforce")
		def(&a.Policy.Tokens, "checked")
		if d := a.DecisionLog; d != nil {
			def(&d.File.MaxSize, "100MiB")
			def(&d.File.Keep, 5)
			def(&d.HTTP.BufferSize, "256MiB")
			def(&d.OTLP.BufferSize, "256MiB")
		}
		for n := range a.Policies {
			def(&a.Policies[n].Mode, "enforce")
			def(&a.Policies[n].Tokens, "checked")
		}
		for n := range a.Issuers {
			def(&a.Issuers[n].Revocations, watchRevocations)
		}
		def(&a.Relay.Lease, 5*time.Second)
		def(&a.Drain, 5*time.Second)
		def(&a.GCPercent, 400)
		def(&a.MemoryLimit, "512MiB")
	}
	if r := c.Relay; r != nil {
		def(&r.Listen, "127.0.0.1:8083")
		def(&r.Management, "127.0.0.1:8084")
		def(&r.Lease, 5*time.Second)
	}
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// resolve makes relative paths relative to the configuration file.
func (c *config) resolve(dir string) {
	var paths []*string
	if i := c.Issuer; i != nil {
		paths = append(paths, &i.TLS.CertFile, &i.TLS.KeyFile, &i.TLS.ClientCAFile, &i.MTLS.ClientCAFile, &i.Store.SQLite, &i.Store.PasswordFile, &i.KeyFile,
			&i.Watch.TLS.CertFile, &i.Watch.TLS.KeyFile, &i.Watch.TLS.ClientCAFile)
		for n := range i.Realms {
			paths = append(paths, &i.Realms[n])
		}
		for n := range i.OtherKeyFiles {
			paths = append(paths, &i.OtherKeyFiles[n])
		}
		for n := range i.Receivers {
			paths = append(paths, i.Receivers[n].paths()...)
		}
	}
	if a := c.Authz; a != nil {
		paths = append(paths, &a.TLS.CertFile, &a.TLS.KeyFile, &a.TLS.ClientCAFile, &a.Policy.Dir,
			&a.DPoP.NonceSecretFile,
			&a.HTTP.TLS.CertFile, &a.HTTP.TLS.KeyFile, &a.HTTP.TLS.ClientCAFile,
			&a.ExtProc.TLS.CertFile, &a.ExtProc.TLS.KeyFile, &a.ExtProc.TLS.ClientCAFile,
			&a.Relay.TLS.CertFile, &a.Relay.TLS.KeyFile, &a.Relay.TLS.ClientCAFile)
		paths = append(paths, a.Revocations.paths()...)
		for n := range a.Policies {
			paths = append(append(paths, &a.Policies[n].Dir), a.Policies[n].Bundle.paths()...)
		}
		paths = append(paths, a.Policy.Bundle.paths()...)
		for n := range a.Issuers {
			if i := a.Issuers[n].Introspection; i != nil {
				paths = append(paths, &i.ClientSecretFile)
			}
		}
		if d := a.DecisionLog; d != nil {
			paths = append(paths, &d.File.Path, &d.HTTP.TokenFile, &d.HTTP.BufferDir, &d.OTLP.TokenFile, &d.OTLP.BufferDir)
		}
	}
	if r := c.Relay; r != nil {
		paths = append(paths, &r.TLS.CertFile, &r.TLS.KeyFile, &r.TLS.ClientCAFile)
		paths = append(paths, r.Revocations.paths()...)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// at complains about a key, naming the line or whatever overrode it.
func (c *config) at(key, what, fix string) error {
	if by, ok := c.set[key]; ok {
		return &configError{where: by, key: key, what: what, fix: fix}
	}
	return c.doc.at(key, what, fix)
}

// isLoopback reports whether only this machine can reach a listen address.
func isLoopback(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
