package main

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// keyPairAge is how long a certificate is used without a look at its files.
const keyPairAge = time.Second

// keyPair is a certificate that follows its files: who renews certificates
// replaces files and tells nobody.
type keyPair struct {
	certFile, keyFile string

	mu      sync.Mutex // guards what follows
	looked  time.Time
	written [2]time.Time // when the files that cert is of were
	cert    *tls.Certificate
}

func newKeyPair(certFile, keyFile string) (*keyPair, error) {
	p := &keyPair{certFile: certFile, keyFile: keyFile}
	return p, p.read()
}

// current returns the certificate. While the files do not belong together, as
// between the replacement of one and of the other, it is the last that did.
func (p *keyPair) current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) >= keyPairAge && p.times() != p.written {
		_ = p.read() // the next look tries again
	}
	return p.cert
}

// read reads the files. The caller holds mu, or nobody else knows p.
func (p *keyPair) read() error {
	p.looked = time.Now()
	written := p.times()
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return err
	}
	p.cert, p.written = &cert, written
	return nil
}

func (p *keyPair) times() (t [2]time.Time) {
	for i, name := range []string{p.certFile, p.keyFile} {
		if info, err := os.Stat(name); err == nil {
			t[i] = info.ModTime()
		}
	}
	return t
}
