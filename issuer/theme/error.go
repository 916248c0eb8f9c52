package theme

import (
	"errors"
	"net/http"
)

// Error is an error that is shown to the person on a page, never sent to a
// client: the request is at fault, but nothing says where an answer may go.
type Error struct {
	Text  string // key of a text
	Cause error  // for the log; may be nil
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Text
	}
	return e.Text + ": " + e.Cause.Error()
}

func (e *Error) Unwrap() error { return e.Cause }

// ErrorPage is the page that tells of err: 400 with the text of an Error; 500
// and nothing about it for whatever else, which is our fault.
func ErrorPage(realm string, err error) Page {
	p := Page{Name: "error", Status: http.StatusInternalServerError, Realm: realm, Data: "serverError"}
	var e *Error
	if errors.As(err, &e) {
		p.Status, p.Data = http.StatusBadRequest, e.Text
	}
	return p
}
