package login

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/client"
	"github.com/tegata/tegata/issuer/oauth"
	"github.com/tegata/tegata/issuer/session"
)

// maxDetails is how many authorization details one request may have.
const maxDetails = 20

// readResource is RFC 8707 §2: where the access token is to be used. Only what
// the client's tokens may be for anyway can be asked for.
func (r *request) readResource(p parameters, c client.Client) error {
	for _, uri := range p.resources {
		if !oauth.IsResource(uri) || !slices.Contains(c.Audience, uri) {
			return &oauth.Error{Code: oauth.CodeInvalidTarget}
		}
		if !slices.Contains(r.Asked.Resource, uri) {
			r.Asked.Resource = append(r.Asked.Resource, uri)
		}
	}
	return nil
}

// readDetails is RFC 9396 §5: each of a type that the client may ask for. What
// they mean is for the resource servers that know the type.
func (r *request) readDetails(p parameters, c client.Client) error {
	text := p.get("authorization_details")
	if text == "" {
		return nil
	}
	details, err := parseDetails(text)
	if err != nil {
		return err
	}
	for _, d := range details {
		if kind, _ := d["type"].(string); !slices.Contains(c.DetailTypes(), kind) {
			return invalidDetails()
		}
	}
	r.Asked.Details, err = json.Marshal(details)
	return err
}

// parseDetails reads an array of objects, as strictly as a token.
func parseDetails(text string) ([]map[string]any, error) {
	if len(text) > maxParameter {
		return nil, invalidDetails()
	}
	whole, err := jose.ReadObject([]byte(`{"d":` + text + `}`))
	if err != nil || len(whole) != 1 {
		return nil, invalidDetails()
	}
	list, _ := whole["d"].([]any)
	if len(list) == 0 || len(list) > maxDetails {
		return nil, invalidDetails()
	}
	details := make([]map[string]any, len(list))
	for i, d := range list {
		object, ok := d.(map[string]any)
		if !ok {
			return nil, invalidDetails()
		}
		details[i] = object
	}
	return details, nil
}

func invalidDetails() error { return &oauth.Error{Code: "invalid_authorization_details"} }

// shownDetails is each authorization detail as a person may read it.
func shownDetails(a session.Asked) []string {
	var details []json.RawMessage
	if len(a.Details) == 0 || json.Unmarshal(a.Details, &details) != nil {
		return nil
	}
	shown := make([]string, len(details))
	for i, d := range details {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // the page escapes
		e.SetIndent("", "  ")
		if e.Encode(d) != nil {
			return nil
		}
		shown[i] = b.String()
	}
	return shown
}
