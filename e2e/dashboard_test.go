package e2e

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tegata/tegata/internal/stack"
)

// TestTheDashboardShowsWhatIsThere: every figure that the dashboard and its
// alerts ask for is one that the programs have.
func TestTheDashboardShowsWhatIsThere(t *testing.T) {
	s := ownStack(t, func(*stack.Config) {})
	token := mustMint(t, s, "orders:read")
	wantOK(t, "a decision", ask(s, http.MethodGet, "/orders", token))
	var exposed string
	for _, base := range []string{s.AuthzManagement, s.IssuerManagement} {
		resp, err := http.Get(base + "/metrics")
		exposed += string(read(resp, err).body)
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
	for _, name := range metric.FindAllString(readFile(t, "../manifests/grafana/README.md"), -1) {
		if !strings.Contains(exposed, name) {
			t.Errorf("an alert asks for %s, which nobody has", name)
		}
	}
}
