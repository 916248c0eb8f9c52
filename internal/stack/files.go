package stack

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// DemoRealm is the realm of the demo: a service, a browser app, a person, and
// the client by which authz watches revocations. The secrets in it are for
// loopback.
//
//go:embed realm.yaml
var DemoRealm []byte

// What is in DemoRealm, for those who tell stories with it.
const (
	Realm         = "demo"
	ServiceID     = "orders-service" // client credentials; may have orders:read and orders:write
	ServiceSecret = "orders-service-secret-for-loopback"
	AppID         = "shop" // public client, authorization code with PKCE
	AppRedirect   = "http://127.0.0.1/callback"
	UserName      = "alice"
	UserPassword  = "alice-password-for-loopback"
	Audience      = "orders-api"
)

//go:embed tegata.yaml.tmpl
var configText string

// The ports of a stack, as indexes into one slice of free ones.
const (
	issuerPort = iota
	issuerManagementPort
	watchPort
	authzPort
	authzManagementPort
	gatewayPort
	envoyAdminPort
	numPorts
)

// address turns ports into the addresses of the Stack.
func (s *Stack) address(ports []int) {
	host := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	s.IssuerURL = "http://" + host(issuerPort)
	s.RealmURL = s.IssuerURL + "/realms/" + Realm
	s.IssuerManagement = "http://" + host(issuerManagementPort)
	s.WatchAddr = host(watchPort)
	s.AuthzAddr = host(authzPort)
	s.AuthzManagement = "http://" + host(authzManagementPort)
	s.GatewayURL = "http://" + host(gatewayPort)
	s.EnvoyAdmin = "http://" + host(envoyAdminPort)
}

// write writes the configuration of all programs.
func (s *Stack) write(c Config, ports []int) error {
	config, err := tegataConfig(c, ports)
	if err != nil {
		return err
	}
	realm := c.Realm
	if realm == nil {
		realm = DemoRealm
	}
	files := map[string][]byte{
		"tegata.yaml": config,
		"realm.yaml":  realm,
		"envoy.yaml":  envoyConfig(c.Bootstrap, ports, s.api.port),
	}
	for i, b := range c.More {
		files[moreRealm(i)] = b
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), b, 0o600); err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
	}
	return nil
}

// moreRealm is the name of the file of Config.More[i].
func moreRealm(i int) string { return fmt.Sprintf("realm-%d.yaml", i+1) }

// tegataConfig is one file with both sections, as an operator on one machine
// would write it.
func tegataConfig(c Config, ports []int) ([]byte, error) {
	lease := c.Lease
	if lease == 0 {
		lease = 3 * time.Second
	}
	t, err := template.New("tegata.yaml").Option("missingkey=error").Parse(configText)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration template: %w", err)
	}
	realms := []string{"realm.yaml"}
	for i := range c.More {
		realms = append(realms, moreRealm(i))
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Issuer": ports[issuerPort], "IssuerManagement": ports[issuerManagementPort], "Watch": ports[watchPort],
		"Authz": ports[authzPort], "AuthzManagement": ports[authzManagementPort],
		"Lease": lease, "Realm": Realm, "Realms": strings.Join(realms, ", "), "Audience": Audience,
	})
	if err != nil {
		return nil, fmt.Errorf("filling the configuration template: %w", err)
	}
	for line := range strings.Lines(c.AuthzYAML) { // the authz section comes last
		b.WriteString("  " + line)
	}
	if c.Edit != nil {
		return []byte(c.Edit(b.String())), nil
	}
	return b.Bytes(), nil
}

// envoyConfig replaces the four default ports of the shipped bootstrap.
func envoyConfig(bootstrap []byte, ports []int, apiPort int) []byte {
	for from, to := range map[string]int{
		"8000": ports[gatewayPort], "3000": apiPort, "9191": ports[authzPort], "9901": ports[envoyAdminPort],
	} {
		// The marker keeps a port that was just set from being replaced again.
		bootstrap = bytes.ReplaceAll(bootstrap, fmt.Appendf(nil, "port_value: %s }", from), fmt.Appendf(nil, "port_value:  %d }", to))
	}
	return bootstrap
}
