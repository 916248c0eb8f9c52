package oauth

import (
	"net"
	"net/http"
)

// maxAgent bounds what is kept of a User-Agent, in bytes.
const maxAgent = 255

// Address is the caller's IP address, as the connection or a trusted proxy
// handler above us has it.
func Address(req *http.Request) string {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		return req.RemoteAddr
	}
	return host
}

// Agent is the caller's program, cut to what is worth keeping.
func Agent(req *http.Request) string {
	a := req.UserAgent()
	return a[:min(len(a), maxAgent)]
}
