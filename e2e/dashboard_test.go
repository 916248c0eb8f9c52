package e2e

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tegata/tegata/internal/stack"
)

// TestTheDashboardShowsWhatIsThere: every figure that the dashboard and the
// alerts ask for is one that the programs have, and each alert says what to do.
func TestTheDashboardShowsWhatIsThere(t *testing.T) {
	s := ownStack(t, func(c *stack.Config) { c.Set["authz.ext_proc.listen"] = freeAddress(t) })
	token := mustMint(t, s, "orders:read")
	wantOK(t, "a decision", ask(s, http.MethodGet, "/orders", token))
	var exposed string
	for _, base := range []string{s.AuthzManagement, s.IssuerManagement} {
		resp, err := http.Get(base + "/metrics")
		exposed += string(read(resp, err).body)
	}

	resp, err := http.Get(s.AuthzManagement + "/revocations")
	var status struct {
		Program string
		Watcher struct{ Trust string }
	}
	if body := read(resp, err).body; json.Unmarshal([]byte(body), &status) != nil || status.Program != "authz" || status.Watcher.Trust != "fresh" {
		t.Errorf("authz says of what it follows: %s", body)
	}

	text := readFile(t, "../manifests/grafana/tegata.json")
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`\b(tegata|process|go)_[a-z_]+`)
	asked := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			for _, name := range metric.FindAllString(target.Expr, -1) {
				asked++
				if !strings.Contains(exposed, "\n"+name) && !strings.Contains(exposed, "# TYPE "+name+" ") {
					t.Errorf("panel %q asks for %s, which nobody has", panel.Title, name)
				}
			}
		}
	}
	if asked < 25 {
		t.Errorf("only %d figures are asked for", asked)
	}
	rules := alerts(t)
	if len(rules) < 10 {
		t.Errorf("only %d alerts", len(rules))
	}
	runbook := readFile(t, "../docs/operating.md")
	for _, rule := range rules {
		names := metric.FindAllString(rule.Expr, -1)
		if rule.Alert == "" || len(names) == 0 || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
			t.Errorf("alert %+v is not whole", rule)
		}
		for _, name := range names {
			if !strings.Contains(exposed, "\n"+name) {
				t.Errorf("alert %s asks for %s, which nobody has", rule.Alert, name)
			}
		}
		for _, label := range labelled.FindAllStringSubmatch(rule.Expr, -1) {
			if !strings.Contains(exposed, label[1]+`="`) {
				t.Errorf("alert %s asks for label %s, which nothing has", rule.Alert, label[1])
			}
		}
		if want := "docs/operating.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook"] != want || !strings.Contains(runbook, "\n#### "+rule.Alert+"\n") {
			t.Errorf("nothing says what to do about %s: %s", rule.Alert, rule.Annotations["runbook"])
		}
	}
}

// labelled is a label that an expression asks for.
var labelled = regexp.MustCompile(`([a-z_]+)="`)

// alert is a rule of Prometheus.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(readFile(t, "../manifests/prometheus/alerts.yaml")), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	return all
}
