package clientauth

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/internal/jwks"
)

// maxRemotes is how many clients' jwks_uri are remembered. A dynamically
// registered client must not be able to fill memory.
const maxRemotes = 1024

// maxKeyAge is how long a client's keys are kept at most: a client that names
// its keys is asked again for one that is new, but of others only this tells
// that the key was changed, or was taken back.
const maxKeyAge = time.Minute

// remotes are the key sets behind the jwks_uri of clients, fetched when first
// needed and again when older than their age.
type remotes struct {
	config jwks.Config

	mu    sync.Mutex // guards byURL
	byURL map[string]*remote
}

type remote struct {
	*jwks.Remote
	used time.Time
}

func newRemotes(c Config) *remotes {
	hc := c.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	return &remotes{config: jwks.Config{HTTP: hc, Now: c.Now, Logger: c.Logger, MaxAge: maxKeyAge}, byURL: make(map[string]*remote)}
}

// set returns the key set at url that has kid.
func (s *remotes) set(ctx context.Context, url, kid string) (*jose.KeySet, error) {
	r, err := s.get(url)
	if err != nil {
		return nil, err
	}
	set, _, err := r.ForKey(ctx, kid)
	return set, err
}

func (s *remotes) get(url string) (*remote, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.byURL[url]
	if !ok {
		config := s.config
		config.URL = url
		fresh, err := jwks.New(config)
		if err != nil {
			return nil, err
		}
		if len(s.byURL) >= maxRemotes {
			s.evict()
		}
		r = &remote{Remote: fresh}
		s.byURL[url] = r
	}
	r.used = s.config.Now()
	return r, nil
}

// evict forgets the one not used for longest. It looks at all, but only when a
// new URL comes to a full house.
func (s *remotes) evict() {
	var oldest string
	for url, r := range s.byURL {
		if oldest == "" || r.used.Before(s.byURL[oldest].used) {
			oldest = url
		}
	}
	delete(s.byURL, oldest)
}
