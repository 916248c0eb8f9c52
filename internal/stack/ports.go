package stack

import (
	"fmt"
	"net"
)

// freePorts returns n different free TCP ports on loopback. All are held at
// once while choosing, so that none is given twice; another program can still
// take one before ours binds it, which Start notices and tries again.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer func() { _ = l.Close() }()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
