package stack

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// api is the sample API behind the gateway. It knows nothing of tokens: it
// says what reached it.
type api struct {
	url    string
	port   int
	server *http.Server
	done   chan struct{}
}

// Echo is what the sample API answers to every request.
type Echo struct {
	Method  string              `json:"method"`
	Path    string              `json:"path"` // with query
	Headers map[string][]string `json:"headers"`
}

func startAPI() (*api, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the sample API: %w", err)
	}
	a := &api{
		url:    "http://" + l.Addr().String(),
		port:   l.Addr().(*net.TCPAddr).Port,
		server: &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 10 * time.Second},
		done:   make(chan struct{}),
	}
	go func() {
		defer close(a.done)
		_ = a.server.Serve(l) // ends with ErrServerClosed in stop
	}()
	return a, nil
}

func (a *api) stop() {
	_ = a.server.Close()
	<-a.done
}

// echo answers with the request, without its credential: answers end up in
// terminals and logs.
func echo(w http.ResponseWriter, r *http.Request) {
	headers := r.Header.Clone()
	if headers.Get("Authorization") != "" {
		headers.Set("Authorization", "(present)")
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Echo{Method: r.Method, Path: r.URL.RequestURI(), Headers: headers}) // the caller may have gone
}
