package theme

import (
	"errors"
	"fmt"
	"testing"
)

func TestErrorPageSaysOnlyWhatIsMeantForThePerson(t *testing.T) {
	t.Parallel()
	cause := errors.New("row 7 is broken")
	shown := &Error{Text: "staleForm", Cause: cause}
	tests := []struct {
		err    error
		status int
		text   string
	}{
		{shown, 400, "staleForm"},
		{fmt.Errorf("opening: %w", shown), 400, "staleForm"},
		{cause, 500, "serverError"},
	}
	for _, tt := range tests {
		p := ErrorPage("demo", tt.err)
		if p.Name != "error" || p.Realm != "demo" || p.Status != tt.status || p.Data != any(tt.text) {
			t.Errorf("%v: page %+v", tt.err, p)
		}
	}
	if !errors.Is(shown, cause) || shown.Error() != "staleForm: row 7 is broken" {
		t.Errorf("error for the log = %v", shown)
	}
	if got := (&Error{Text: "staleForm"}).Error(); got != "staleForm" {
		t.Errorf("error without a cause = %q", got)
	}
}
