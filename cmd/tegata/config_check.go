package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tegata/tegata/authz/decisionlog"
	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer"
	"github.com/tegata/tegata/issuer/receiver"
)

// check complains about the first key that cannot work.
func (c *config) check() error {
	if c.Issuer == nil && c.Authz == nil && c.Relay == nil {
		return c.doc.at("", "neither an issuer: nor an authz: nor a relay: section", "write one as in docs/operating.md")
	}
	if err := c.oneOf("log.format", c.Log.Format, "json", "text"); err != nil {
		return err
	}
	if err := c.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"); err != nil {
		return err
	}
	if err := c.checkIssuer(); err != nil {
		return err
	}
	if err := c.checkAuthz(); err != nil {
		return err
	}
	return c.checkRelay()
}

func (c *config) checkRelay() error {
	r := c.Relay
	if r == nil {
		return nil
	}
	return firstError(
		c.isAddress("relay.management", r.Management),
		c.checkRelayDoor("relay", r.door()),
		c.checkRevocations("relay.revocations", r.Revocations),
		c.isUpstream("relay.revocations", r.Revocations),
	)
}

// isUpstream: a relay without one has nothing to relay.
func (c *config) isUpstream(key string, r revocationsConfig) error {
	if r.Address == "" {
		return c.at(key+".address", "required: from where does the relay hear of revocations?", "issuer.watch.listen of the issuer, or the listener of another relay")
	}
	return nil
}

// checkRelayDoor: who is below a relay shows a certificate, so that it cannot
// do without TLS, on loopback neither.
func (c *config) checkRelayDoor(key string, r relayDoorConfig) error {
	switch {
	case r.Listen == "":
		return nil
	case r.TLS.CertFile == "" || r.TLS.ClientCAFile == "":
		return c.at(key+".tls", "required, with client_ca_file: watchers show who they are by a certificate, and the stream names live sessions", "tls: { cert_file: …, key_file: …, client_ca_file: … }")
	case len(r.Peers) == 0:
		return c.at(key+".peers", "required: who may watch?", "SPIFFE ids or DNS names in the certificates of watchers")
	}
	return firstError(
		c.isAddress(key+".listen", r.Listen),
		c.isTLS(key+".tls", r.TLS),
		c.within(key+".lease", r.Lease, 100*time.Millisecond, 10*time.Minute),
	)
}

// checkAuthzRelay: authz can relay only what it hears.
func (c *config) checkAuthzRelay(a *authzConfig) error {
	if a.Relay.Listen == "" {
		return nil
	}
	return firstError(c.checkRelayDoor("authz.relay", a.Relay), c.isUpstream("authz.revocations", a.Revocations))
}

func (c *config) checkIssuer() error {
	i := c.Issuer
	if i == nil {
		return nil
	}
	return firstError(
		c.isURL("issuer.base_url", i.BaseURL),
		c.isAddress("issuer.listen", i.Listen),
		c.isAddress("issuer.management", i.Management),
		c.isAddress("issuer.watch.listen", i.Watch.Listen),
		c.isTLS("issuer.tls", i.TLS),
		c.isTLS("issuer.watch.tls", i.Watch.TLS),
		c.isPrivate("issuer.listen", i.Listen, i.TLS.on() || i.BehindProxy,
			"set issuer.tls, or issuer.behind_proxy: true if a proxy in front ends TLS"),
		c.isPrivate("issuer.watch.listen", i.Watch.Listen, i.Watch.TLS.on(),
			"set issuer.watch.tls: the stream names live sessions"),
		c.checkProxies(i),
		c.checkMTLS(i),
		c.checkStore(i.Store),
		c.within("issuer.watch.lease", i.Watch.Lease, 100*time.Millisecond, 10*time.Minute),
		c.within("issuer.revoke_wait", i.RevokeWait, -1, 10*time.Minute),
		c.checkReceivers(i),
	)
}

// maxLifetime bounds how long a record of another issuer is kept.
const maxLifetime = 366 * 24 * time.Hour

func (c *config) checkReceivers(i *issuerConfig) error {
	for n, r := range i.Receivers {
		key := fmt.Sprintf("issuer.receivers[%d]", n)
		err := firstError(
			c.isURL(key+".issuer", r.Issuer),
			c.maybeURL(key+".jwks_url", r.JWKSURL),
			c.areAlgorithms(key+".algorithms", r.Algorithms),
			c.within(key+".max_token_lifetime", r.MaxTokenLifetime, time.Second, maxLifetime),
			c.oneOf(key+".sessions", r.Sessions, sessionsBySID, sessionsBySubject),
			c.checkEvents(key+".events", r),
		)
		switch {
		case err != nil:
			return err
		case r.Name == "":
			return c.at(key+".name", "required: what the path of its endpoints is called", "/receivers/NAME/backchannel-logout")
		case receiver.CheckName(r.Name) != nil:
			return c.at(key+".name", receiver.CheckName(r.Name).Error(), "")
		case slices.ContainsFunc(i.Receivers[:n], func(o receiverConfig) bool { return o.Name == r.Name }):
			return c.at(key+".name", fmt.Sprintf("two have the name %q", r.Name), "")
		case strings.HasPrefix(r.Issuer, i.BaseURL+"/realms/"):
			return c.at(key+".issuer", "is ours: its revocations come without this", "take it out")
		case len(r.ClientIDs) == 0 && r.Events == nil && r.Realm == "":
			return c.at(key, "hears nothing", "give client_ids (back-channel logout), events or realm (calls)")
		}
	}
	return nil
}

func (c *config) checkEvents(key string, r receiverConfig) error {
	e := r.Events
	if e == nil {
		return nil
	}
	switch {
	case e.Audience == "":
		return c.at(key+".audience", "required: which aud do its events have?", "")
	case e.Issuer != "" && e.Issuer != r.Issuer && e.JWKSURL == "":
		return c.at(key+".jwks_url", "required, as events are of another issuer than tokens", "jwks_uri in its /.well-known/ssf-configuration")
	case e.Poll != nil && e.AuthorizationFile != "":
		return c.at(key+".authorization_file", "given together with poll: it is for events that are pushed", "poll.token_file")
	}
	return firstError(c.maybeURL(key+".issuer", e.Issuer), c.maybeURL(key+".jwks_url", e.JWKSURL), c.checkPoll(key+".poll", e.Poll))
}

func (c *config) checkPoll(key string, p *pollConfig) error {
	switch {
	case p == nil:
		return nil
	case p.ClientID != "" && p.TokenFile != "":
		return c.at(key+".token_file", "given together with client_id", "keep one of them")
	case p.ClientID == "" && p.TokenFile == "":
		return c.at(key+".token_file", "required: how do we show who asks?", "or client_id, client_secret_file and token_url")
	case p.ClientID != "" && p.ClientSecretFile == "":
		return c.at(key+".client_secret_file", "required with client_id", "a file that holds the secret, readable by tegata alone")
	case p.ClientID != "":
		return firstError(c.isURL(key+".url", p.URL), c.isURL(key+".token_url", p.TokenURL))
	}
	return c.isURL(key+".url", p.URL)
}

// maybeURL is isURL for what may be left out.
func (c *config) maybeURL(key, value string) error {
	if value == "" {
		return nil
	}
	return c.isURL(key, value)
}

// checkProxies: whose X-Forwarded-For counts matters only behind a proxy.
func (c *config) checkProxies(i *issuerConfig) error {
	if len(i.Proxies) > 0 && !i.BehindProxy {
		return c.at("issuer.trusted_proxies", "given without behind_proxy", "set issuer.behind_proxy: true, or take trusted_proxies out")
	}
	return c.arePeers("issuer.trusted_proxies", i.Proxies)
}

// checkMTLS: a header is as good as the proxy that writes it.
func (c *config) checkMTLS(i *issuerConfig) error {
	m := i.MTLS
	if m.URL != "" {
		if err := c.isURL("issuer.mtls.url", m.URL); err != nil {
			return err
		}
	}
	switch {
	case m.Header == "" && m.ClientCAFile != "":
		return c.at("issuer.mtls.client_ca_file", "given without header", "issuer.tls.client_ca_file is for connections that end here")
	case m.Header == "":
		return nil
	case !i.BehindProxy:
		return c.at("issuer.mtls.header", "given without behind_proxy", "set issuer.behind_proxy: true, or take header out")
	case m.ClientCAFile == "":
		return c.at("issuer.mtls.client_ca_file", "required with header", "")
	}
	return c.oneOf("issuer.mtls.header", m.Header, certificateHeaders()...)
}

func certificateHeaders() []string {
	names := []string{issuer.HeaderEnvoy, issuer.HeaderNGINX, issuer.HeaderRFC9440}
	for i, name := range names {
		names[i] = strings.ToLower(name)
	}
	return names
}

// checkStore never repeats the URL, which may hold a password.
func (c *config) checkStore(s storeConfig) error {
	const key = "issuer.store"
	switch {
	case s.Postgres == "" && (s.Password != "" || s.PasswordFile != ""):
		return c.at(key+".postgres", "required with a password", "postgres://user@host:5432/database?sslmode=verify-full")
	case s.Postgres == "":
		return nil
	case s.SQLite != "":
		return c.at(key+".sqlite", "given together with postgres", "keep one of them")
	case s.Password != "" && s.PasswordFile != "":
		return c.at(key+".password_file", "given together with password", "keep one of them")
	case !strings.HasPrefix(s.Postgres, "postgres://") && !strings.HasPrefix(s.Postgres, "postgresql://"):
		return c.at(key+".postgres", "not the URL of a PostgreSQL database", "postgres://user@host:5432/database?sslmode=verify-full")
	case s.Connections < 2 || s.Connections > 1000:
		return c.at(key+".connections", fmt.Sprintf("%d is not between 2 and 1000", s.Connections), "16 is the default")
	}
	return c.within(key+".statement_timeout", s.StatementTimeout, 100*time.Millisecond, 10*time.Minute)
}

func (c *config) checkAuthz() error {
	a := c.Authz
	if a == nil {
		return nil
	}
	err := firstError(
		c.isAddress("authz.listen", a.Listen),
		c.isAddress("authz.management", a.Management),
		c.isTLS("authz.tls", a.TLS),
		c.isPrivate("authz.listen", a.Listen, a.TLS.on() || a.InsecurePlaintext,
			"set authz.tls, or authz.insecure_plaintext: true if the network itself is trusted with tokens"),
		c.checkHTTPDoor(),
		c.checkExtProc(),
		c.checkDecisionLog(),
		c.checkTraces(),
		c.checkDPoP(),
		c.oneOf("authz.on_stale", a.OnStale, "deny", "serve"),
		c.checkPolicy("authz.policy", a.Policy),
		c.checkPolicies(),
		c.within("authz.evaluation_wait", a.EvaluationWait, 0, 10*time.Second),
		c.within("authz.drain", a.Drain, 0, 10*time.Minute),
		c.isMemory("authz.memory_limit", a.MemoryLimit),
		c.checkRevocations("authz.revocations", a.Revocations),
		c.checkAuthzRelay(a),
	)
	if err != nil {
		return err
	}
	if len(a.Issuers) == 0 {
		return c.at("authz.issuers", "required: whose tokens are accepted?", "- issuer: https://id.example.com/realms/main")
	}
	for n, t := range a.Issuers {
		if err := c.checkTrusted(fmt.Sprintf("authz.issuers[%d]", n), t); err != nil {
			return err
		}
	}
	return nil
}

// maxProofs bounds what remembering them can take: about 4 GiB.
const maxProofs = 1 << 26

func (c *config) checkDPoP() error {
	const key = "authz.dpop"
	d := c.Authz.DPoP
	if d.NonceSecretFile != "" && !d.Nonces {
		return c.at(key+".nonces", "a secret for nonces, but none are demanded", "nonces: true")
	}
	if u := c.Authz.ResourceMetadata; u != "" {
		if err := c.isURL("authz.resource_metadata", u); err != nil {
			return err
		}
	}
	if d.Proofs < 0 || d.Proofs > maxProofs {
		return c.at(key+".proofs", fmt.Sprintf("%d is not between 0 and %d", d.Proofs, maxProofs), "0 is the default")
	}
	return firstError(
		c.areAlgorithms(key+".algorithms", d.Algorithms),
		c.within(key+".max_age", d.MaxAge, 0, 5*time.Minute),
		c.within(key+".leeway", d.Leeway, 0, time.Minute),
		c.oneOf(key+".scheme", d.Scheme, "", "http", "https"),
	)
}

func (c *config) checkTraces() error {
	const key = "authz.traces"
	t := c.Authz.Traces
	switch {
	case t.OTLP == "":
		return nil
	case t.Ratio < 0 || t.Ratio > 1:
		return c.at(key+".ratio", fmt.Sprintf("%v is no share between 0 and 1", t.Ratio), "")
	case t.Insecure && !isLoopback(t.OTLP):
		return c.at(key+".insecure", "spans tell who calls what: beyond loopback only with TLS", "leave it out")
	}
	return c.isAddress(key+".otlp", t.OTLP)
}

func (c *config) checkDecisionLog() error {
	const key = "authz.decision_log"
	d := c.Authz.DecisionLog
	if d == nil {
		return nil
	}
	if !d.Console && d.File.Path == "" && d.HTTP.URL == "" && d.OTLP.URL == "" {
		return c.at(key, "writes nowhere", "give console: true, file.path, http.url or otlp.url")
	}
	for reason, share := range d.Sample {
		if share < 0 || share > 1 {
			return c.at(key+".sample."+reason, fmt.Sprintf("%v is no share between 0 and 1", share), "")
		}
	}
	for n, m := range d.Mask {
		if err := c.oneOf(fmt.Sprintf("%s.mask[%d].op", key, n), m.Op, "", decisionlog.Remove, decisionlog.Upsert); err != nil {
			return err
		}
	}
	if d.HTTP.BufferDir != "" && d.HTTP.BufferDir == d.OTLP.BufferDir {
		return c.at(key+".otlp.buffer_dir", "is that of http", "give each a directory of its own")
	}
	for name, url := range map[string]string{".http.url": d.HTTP.URL, ".otlp.url": d.OTLP.URL} {
		if url == "" {
			continue
		}
		if err := c.isURL(key+name, url); err != nil {
			return err
		}
	}
	return firstError(
		c.isMemory(key+".file.max_size", d.File.MaxSize),
		c.isMemory(key+".http.buffer_size", d.HTTP.BufferSize),
		c.isMemory(key+".otlp.buffer_size", d.OTLP.BufferSize),
	)
}

func (c *config) checkHTTPDoor() error {
	const key = "authz.http"
	h := c.Authz.HTTP
	if h.Listen == "" {
		return nil
	}
	return firstError(
		c.arePeers(key+".trusted_peers", h.TrustedPeers),
		c.isDoor(key, h.Listen, h.TLS),
		c.isMemory(key+".max_body", h.MaxBody),
	)
}

func (c *config) checkExtProc() error {
	e := c.Authz.ExtProc
	if e.Listen == "" {
		return nil
	}
	return c.isDoor("authz.ext_proc", e.Listen, e.TLS)
}

// isDoor checks where authz is asked: tokens pass there.
func (c *config) isDoor(key, listen string, t tlsConfig) error {
	return firstError(
		c.isAddress(key+".listen", listen),
		c.isTLS(key+".tls", t),
		c.isPrivate(key+".listen", listen, t.on() || c.Authz.InsecurePlaintext,
			"set "+key+".tls, or authz.insecure_plaintext: true if the network itself is trusted with tokens"),
	)
}

func (c *config) arePeers(key string, peers []string) error {
	for n, peer := range peers {
		if _, err := parsePeer(peer); err != nil {
			return c.at(fmt.Sprintf("%s[%d]", key, n), fmt.Sprintf("%q is neither an address nor a network", peer), "for example 10.0.0.7 or 10.0.0.0/8")
		}
	}
	return nil
}

// parsePeers reads those that arePeers has found good.
func parsePeers(key string, peers []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, peer := range peers {
		prefix, err := parsePeer(peer)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		all = append(all, prefix)
	}
	return all, nil
}

// parsePeer reads an address or a network.
func parsePeer(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

func (c *config) checkPolicy(key string, p policyConfig) error {
	return firstError(
		c.within(key+".deadline", p.Deadline, 0, 10*time.Second),
		c.oneOf(key+".mode", p.Mode, "enforce", "shadow"),
		c.oneOf(key+".tokens", p.Tokens, "checked", "left"),
		c.checkBundle(key, p),
	)
}

func (c *config) checkBundle(key string, p policyConfig) error {
	b := p.Bundle
	switch {
	case b == nil:
		return nil
	case p.Dir != "":
		return c.at(key+".bundle", "given together with dir", "keep one of them")
	case (b.File == "") == (b.URL == ""):
		return c.at(key+".bundle", "wants one of file and url", "")
	}
	if b.URL != "" {
		if err := c.isURL(key+".bundle.url", b.URL); err != nil {
			return err
		}
	}
	for n, k := range b.Keys {
		if k.ID == "" || k.File == "" {
			return c.at(fmt.Sprintf("%s.bundle.keys[%d]", key, n), "wants id and file", "the key id that bundles are signed with, and a PEM file")
		}
	}
	return firstError(
		c.within(key+".bundle.long_poll", b.LongPoll, 0, 10*time.Minute),
		c.within(key+".bundle.min_delay", b.MinDelay, 0, time.Hour),
		c.within(key+".bundle.max_delay", b.MaxDelay, 0, 24*time.Hour),
	)
}

func (c *config) checkPolicies() error {
	for n, p := range c.Authz.Policies {
		key := fmt.Sprintf("authz.policies[%d]", n)
		if err := c.checkPolicy(key, p.policy()); err != nil {
			return err
		}
		switch {
		case p.Name == "":
			return c.at(key+".name", "required: what logs and metrics call it", "")
		case p.Dir == "" && p.Bundle == nil:
			return c.at(key+".dir", "required, or bundle: where is the policy?", "")
		case len(p.Hosts)+len(p.Paths)+len(p.Destinations)+len(p.Extensions) == 0:
			return c.at(key, "is for every request: nothing after it is ever asked", "give hosts, paths, destinations or extensions, or make it authz.policy")
		}
	}
	return nil
}

func (c *config) checkTrusted(key string, t trustedConfig) error {
	if err := c.isURL(key+".issuer", t.Issuer); err != nil {
		return err
	}
	if t.JWKSURL != "" {
		if err := c.isURL(key+".jwks_url", t.JWKSURL); err != nil {
			return err
		}
	}
	if len(t.Audience) == 0 && !t.InsecureAnyAudience {
		return c.at(key+".audience", "required: which aud must a token have to be meant for this API?",
			"or insecure_any_audience: true, and tokens meant for other APIs are accepted here")
	}
	return firstError(
		c.areAlgorithms(key+".algorithms", t.Algorithms),
		c.oneOf(key+".revocations", t.Revocations, watchRevocations, noRevocations),
		c.isWatched(key, t),
		c.within(key+".leeway", t.Leeway, 0, time.Minute),
		c.checkIntrospection(key+".introspection", t.Introspection),
	)
}

func (c *config) checkIntrospection(key string, i *introspectionConfig) error {
	switch {
	case i == nil:
		return nil
	case i.ClientID == "":
		return c.at(key+".client_id", "required: as whom does authz ask?", "")
	case (i.ClientSecret == "") == (i.ClientSecretFile == ""):
		return c.at(key+".client_secret_file", "required, or client_secret in its place", "a file that holds the secret, readable by tegata alone")
	}
	return firstError(
		c.isURL(key+".url", i.URL),
		c.within(key+".ttl", i.TTL, 0, 5*time.Minute),
		c.within(key+".timeout", i.Timeout, 0, 30*time.Second),
	)
}

func (c *config) areAlgorithms(key string, names []string) error {
	for n, alg := range names {
		if err := c.oneOf(fmt.Sprintf("%s[%d]", key, n), alg, algorithms()...); err != nil {
			return err
		}
	}
	return nil
}

// algorithms lists the signatures that may be accepted: asymmetric ones only.
func algorithms() []string {
	var names []string
	for _, a := range []jose.Algorithm{
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	} {
		names = append(names, string(a))
	}
	return names
}

// isWatched refuses an issuer whose revocations would never arrive, unless it
// is known to send none.
func (c *config) isWatched(key string, t trustedConfig) error {
	r := c.Authz.Revocations
	const fix = "revocations: none for an issuer that is no Tegata: its tokens then pass until they expire"
	switch {
	case t.Revocations == noRevocations:
		return nil
	case r.Address == "":
		return c.at("authz.revocations.address", "required: host:port of the watch listener of "+t.Issuer, "it is issuer.watch.listen there; or "+key+"."+fix)
	case len(r.Issuers) > 0 && !slices.Contains(r.Issuers, t.Issuer):
		return c.at(key+".issuer", t.Issuer+" is not among authz.revocations.issuers: its revocations would not arrive", "name it there; or "+fix)
	}
	return nil
}

// isZero: nothing is said of where revocations come from.
func (r revocationsConfig) isZero() bool { return reflect.DeepEqual(r, revocationsConfig{}) }

func (c *config) checkRevocations(key string, r revocationsConfig) error {
	switch {
	case r.isZero():
		return nil // isWatched asks whether that can be
	case r.Address == "":
		return c.at(key+".address", "required: host:port of the issuer's watch listener", "it is issuer.watch.listen of the issuer")
	case r.ClientSecret != "" && r.ClientSecretFile != "":
		return c.at(key+".client_secret_file", "given together with client_secret", "keep one of them")
	case r.ClientID == "" && r.TLS.CertFile == "":
		return c.at(key+".client_id", "required: how is the upstream shown who asks?", "client_id with client_secret_file and token_url, or tls.cert_file with tls.key_file")
	case r.ClientID != "" && r.ClientSecret == "" && r.ClientSecretFile == "":
		return c.at(key+".client_secret_file", "required with client_id", "a file that holds the secret, readable by tegata alone")
	case !r.TLS.on() && slices.ContainsFunc(r.addresses(), func(a string) bool { return !isLoopback(a) }):
		return c.at(key+".tls", "required beyond loopback: the stream names live sessions", "tls.ca_file")
	case (r.TLS.CertFile == "") != (r.TLS.KeyFile == ""):
		return c.at(key+".tls", "cert_file and key_file go together", "")
	}
	if err := c.isAddress(key+".address", r.Address); err != nil {
		return err
	}
	for n, address := range r.Others {
		if err := c.isAddress(fmt.Sprintf("%s.others[%d]", key, n), address); err != nil {
			return err
		}
	}
	if r.ClientID != "" {
		return c.isURL(key+".token_url", r.TokenURL)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *config) oneOf(key, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return c.at(key, fmt.Sprintf("%q is not one of %s", value, strings.Join(allowed, ", ")), "")
}

func (c *config) isURL(key, value string) error {
	if value == "" {
		return c.at(key, "required", "an http or https URL")
	}
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return c.at(key, fmt.Sprintf("%q is not an http or https URL without query and fragment", value), "")
	}
	if strings.HasSuffix(value, "/") {
		return c.at(key, fmt.Sprintf("%q ends with a slash", value), "leave the slash out: tokens carry this text as it is")
	}
	return nil
}

func (c *config) isAddress(key, value string) error {
	if strings.HasPrefix(value, "unix:") {
		return nil
	}
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return c.at(key, fmt.Sprintf("%q is not host:port", value), "for example 127.0.0.1:8080")
	}
	return nil
}

func (c *config) isTLS(key string, t tlsConfig) error {
	switch {
	case t.CertFile == "" && t.KeyFile != "":
		return c.at(key+".cert_file", "required with key_file", "")
	case t.CertFile != "" && t.KeyFile == "":
		return c.at(key+".key_file", "required with cert_file", "")
	case t.ClientCAFile != "" && t.CertFile == "":
		return c.at(key+".cert_file", "required with client_ca_file", "")
	}
	return nil
}

// isPrivate refuses plaintext where others could listen.
func (c *config) isPrivate(key, addr string, protected bool, fix string) error {
	if protected || isLoopback(addr) {
		return nil
	}
	return c.at(key, fmt.Sprintf("%s can be reached from other machines, and would speak plaintext", addr), fix)
}

func (c *config) within(key string, d, low, high time.Duration) error {
	if d < low || d > high {
		return c.at(key, fmt.Sprintf("%v is not between %v and %v", d, low, high), "")
	}
	return nil
}

func (c *config) isMemory(key, value string) error {
	if _, err := parseBytes(value); err != nil {
		return c.at(key, err.Error(), "for example 512MiB, or off")
	}
	return nil
}

// parseBytes reads a size as GOMEMLIMIT spells it; "off" is 0.
func parseBytes(s string) (int64, error) {
	if s == "off" {
		return 0, nil
	}
	units := []struct {
		name string
		size int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}}
	for _, u := range units {
		if digits, ok := strings.CutSuffix(s, u.name); ok {
			n, err := strconv.ParseInt(digits, 10, 32)
			if err != nil || n <= 0 {
				break
			}
			return n * u.size, nil
		}
	}
	return 0, fmt.Errorf("%q is not a size", s)
}

// secretOf is a secret, or what its file holds.
func secretOf(key, secret, file string) (string, error) {
	if file == "" {
		return secret, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", key, err)
	}
	return strings.TrimSpace(string(b)), nil
}
