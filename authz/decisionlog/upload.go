package decisionlog

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HTTP configures the upload to a service, with OPA's decision log API or
// OTLP. An event may arrive twice, with the same decision_id.
type HTTP struct {
	URL       string      // of the service, to which the resource is added; plain http only to this machine
	Partition string      // resource is /logs/<partition>; of OPA's API alone
	Resource  string      // default /logs; with OTLP /v1/logs
	Header    http.Header // sent along, such as Authorization

	// InsecurePlaintext allows http to other machines: whoever can read the
	// network reads who did what.
	InsecurePlaintext bool

	Client     *http.Client  // redirects are not followed, whatever it says
	BatchBytes int           // of JSON in one request, about; default 1 MiB
	Delay      time.Duration // how long an event waits for others; default 1 s
	Timeout    time.Duration // of one request; default 30 s
	MaxBackOff time.Duration // between tries; default 30 s

	MemoryBytes int64 // kept for the service, then the oldest are lost; default 64 MiB; unused with Disk
	Disk        *Disk // keeps them there instead
}

const (
	defaultBatchBytes  = 1 << 20
	defaultMemoryBytes = 64 << 20
	defaultDelay       = time.Second
	defaultTimeout     = 30 * time.Second
	defaultMaxBackOff  = 30 * time.Second
	firstBackOff       = 250 * time.Millisecond
	maxAnswer          = 64 << 10 // bytes read of an answer, so that its connection can serve again
)

// errTooMuch says that the service does not accept the batch, and never will.
var errTooMuch = errors.New("the service refuses the batch")

// protocol is how a service wants events.
type protocol struct {
	name     string // in complaints
	resource string
	kind     string // Content-Type
	// pack makes a request's body, which is gzipped.
	pack func(w io.Writer, events [][]byte) error
	// rejected reads from the body of a success how many events were not
	// accepted all the same, and never will be; nil: none are.
	rejected func(body []byte) int
}

const opaResource = "/logs"

// opaLogs is OPA's decision log API: a JSON array.
func opaLogs() protocol {
	return protocol{name: "http", resource: opaResource, kind: "application/json", pack: writeArray}
}

// uploader is the output that has a buffer and a goroutine behind it.
type uploader struct {
	c        HTTP
	protocol protocol
	url      string
	client   http.Client
	buffer   buffer
	random   func() float64
	metrics  *metrics
	complain func(ctx context.Context, what string, err error)
	wake     chan struct{} // events were added
	most     int           // events in a request; fewer after errTooMuch
	failing  bool
}

func newUploader(c HTTP, p protocol, log Config, m *metrics, complain func(context.Context, string, error)) (*uploader, error) {
	c.BatchBytes = cmp.Or(c.BatchBytes, defaultBatchBytes)
	c.MemoryBytes = cmp.Or(c.MemoryBytes, defaultMemoryBytes)
	c.Delay = cmp.Or(c.Delay, defaultDelay)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.MaxBackOff = cmp.Or(c.MaxBackOff, defaultMaxBackOff)
	u := &uploader{c: c, protocol: p, random: log.Random, metrics: m, complain: complain, wake: make(chan struct{}, 1), most: maxMost}
	var err error
	if u.url, err = c.target(p); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	if min(c.BatchBytes, int(c.MemoryBytes)) < 0 || min(c.Delay, c.Timeout, c.MaxBackOff) < 0 {
		return nil, fmt.Errorf("%s: a limit is below 0", p.name)
	}
	if c.Client != nil {
		u.client = *c.Client
	}
	u.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.Disk == nil {
		u.buffer = newMemory(c.MemoryBytes, m)
		return u, nil
	}
	if c.Disk.MaxBytes != 0 && c.Disk.MaxBytes < 2*segmentShare*int64(log.MaxEvent) {
		return nil, fmt.Errorf("disk buffer: %d bytes are too few for events of up to %d", c.Disk.MaxBytes, log.MaxEvent)
	}
	u.buffer, err = newDisk(*c.Disk, m, log.Logger)
	return u, err
}

const maxMost = 1 << 30

// target is where to post to.
func (c HTTP) target(p protocol) (string, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return "", errors.New("url does not parse") // it may hold a password
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("url: want http(s)://host[/path], and credentials in a header")
	case u.Scheme == "http" && !c.InsecurePlaintext && !loopback(u.Hostname()):
		return "", fmt.Errorf("url: http to %s would show every decision to the network", u.Hostname())
	case c.Partition != "" && (c.Resource != "" || p.resource != opaResource):
		return "", errors.New("a partition is one of OPA's resource /logs, and of no other")
	case c.Partition != "":
		return u.JoinPath("logs", url.PathEscape(c.Partition)).String(), nil
	}
	return u.JoinPath(strings.Split(strings.Trim(cmp.Or(c.Resource, p.resource), "/"), "/")...).String(), nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// write adds to the buffer.
func (u *uploader) write(events [][]byte) error {
	lost, err := u.buffer.add(events)
	u.metrics.lost(lostDisk, lost)
	select {
	case u.wake <- struct{}{}:
	default:
	}
	return err
}

func (u *uploader) close() error { return u.buffer.close() }

// run uploads what is in the buffer, and after ending what is left there, as
// long as ctx lets it.
func (u *uploader) run(ctx context.Context, ending <-chan struct{}) {
	for u.gather(ctx, ending) && u.deliver(ctx, ending) {
	}
}

// deliver sends a batch until it has arrived. It reports false when it is time
// to stop: what survives in the buffer is tried once after ending, no more.
func (u *uploader) deliver(ctx context.Context, ending <-chan struct{}) bool {
	backOff := firstBackOff
	for {
		rest, err := u.upload(ctx)
		u.tell(ctx, err)
		switch {
		case err == nil && !rest:
			return true
		case err == nil:
			continue
		case ctx.Err() != nil || closed(ending) && u.buffer.keeps():
			return false
		}
		u.pause(ctx, ending, max(jitter(backOff, u.random()), min(retryAfter(err), u.c.MaxBackOff)))
		backOff = min(2*backOff, u.c.MaxBackOff)
	}
}

// gather waits until there is a batch: enough events, or some for long enough.
// It reports whether there is one.
func (u *uploader) gather(ctx context.Context, ending <-chan struct{}) bool {
	var due <-chan time.Time
	for u.buffer.size() < int64(u.c.BatchBytes) {
		if due == nil && u.buffer.size() > 0 {
			timer := time.NewTimer(u.c.Delay)
			defer timer.Stop()
			due = timer.C
		}
		select {
		case <-u.wake:
			continue
		case <-due:
		case <-ending:
			return u.buffer.size() > 0 && ctx.Err() == nil
		case <-ctx.Done():
			return false
		}
		break
	}
	return ctx.Err() == nil
}

// pause waits before the next try; the end cuts it short once.
func (u *uploader) pause(ctx context.Context, ending <-chan struct{}, wait time.Duration) {
	if closed(ending) {
		ending = nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ending:
	case <-ctx.Done():
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// jitter is between half of d and all of it.
func jitter(d time.Duration, random float64) time.Duration {
	return d/2 + time.Duration(random*float64(d/2))
}

// upload sends one batch, and reports whether a rest of it is left. A batch
// that is refused is tried by halves, until the one event is found that is.
func (u *uploader) upload(ctx context.Context) (rest bool, err error) {
	batch, err := u.buffer.next(u.c.BatchBytes)
	if err != nil || len(batch) == 0 {
		return false, err
	}
	events := batch[:min(len(batch), u.most)]
	switch err := u.post(ctx, events); {
	case errors.Is(err, errTooMuch) && len(events) > 1:
		u.metrics.rejected.Inc()
		u.most = len(events) / 2
		return true, nil
	case errors.Is(err, errTooMuch):
		u.metrics.rejected.Inc()
		u.metrics.lost(lostRefused, 1)
		u.complain(ctx, "decision log: event lost", err)
	case err != nil:
		u.metrics.failed.Inc()
		return true, err
	default:
		u.metrics.delivered.Inc()
		u.most = min(2*u.most, maxMost)
	}
	return len(events) < len(batch), u.buffer.done(len(events))
}

// post sends events and returns nil once the service has them.
func (u *uploader) post(ctx context.Context, events [][]byte) error {
	body, err := u.pack(events)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, u.c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("uploading (%s): %w", u.protocol.name, err)
	}
	for name, values := range u.c.Header {
		request.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	request.Header.Set("Content-Type", u.protocol.kind)
	request.Header.Set("Content-Encoding", "gzip")
	response, err := u.client.Do(request)
	if err != nil {
		return fmt.Errorf("uploading (%s): %w", u.protocol.name, err)
	}
	defer func() { _ = response.Body.Close() }() // was only read
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err := answered(response); err != nil {
		return fmt.Errorf("uploading (%s): %w", u.protocol.name, err)
	}
	u.reject(ctx, answer, len(events))
	return nil
}

// reject counts what the service did not accept of a batch that it took.
func (u *uploader) reject(ctx context.Context, answer []byte, sent int) {
	if u.protocol.rejected == nil {
		return
	}
	if n := min(u.protocol.rejected(answer), sent); n > 0 {
		u.metrics.lost(lostRefused, n)
		u.complain(ctx, "decision log: events lost", fmt.Errorf("uploading (%s): the service rejects %d of %d", u.protocol.name, n, sent))
	}
}

// answered makes an error of what is not success.
func answered(r *http.Response) error {
	switch code := r.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: status %d", errTooMuch, code)
	default:
		seconds, _ := strconv.Atoi(r.Header.Get("Retry-After"))
		return &statusError{code, time.Duration(min(max(seconds, 0), 3600)) * time.Second}
	}
}

// statusError is an answer that a later try may change.
type statusError struct {
	code  int
	after time.Duration // as the service asks, or 0
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.code) }

func retryAfter(err error) time.Duration {
	if status, ok := errors.AsType[*statusError](err); ok {
		return status.after
	}
	return 0
}

// pack makes a gzipped body.
func (u *uploader) pack(events [][]byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := errors.Join(u.protocol.pack(z, events), z.Close()); err != nil {
		return nil, fmt.Errorf("packing events: %w", err)
	}
	return b.Bytes(), nil
}

// writeArray writes a JSON array.
func writeArray(w io.Writer, events [][]byte) error {
	separator := []byte("[")
	for _, event := range events {
		if _, err := w.Write(append(separator, event...)); err != nil {
			return err
		}
		separator = []byte(",")
	}
	_, err := w.Write([]byte("]"))
	return err
}

// tell says when uploads begin to fail, and when they work again.
func (u *uploader) tell(ctx context.Context, err error) {
	if failing := err != nil; failing != u.failing {
		u.failing = failing
		if failing {
			u.complain(ctx, "decision log: upload fails, will be tried again", err)
			return
		}
		u.complain(ctx, "decision log: upload works again", nil)
	}
}
