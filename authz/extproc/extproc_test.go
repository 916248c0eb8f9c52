package extproc

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tegata/tegata/authz/check"
	"github.com/tegata/tegata/authz/extauthz"
	"github.com/tegata/tegata/authz/verify"
	"github.com/tegata/tegata/revocation"
)

const patient = 20 * time.Second

// bench is a Server behind gRPC, and what it hears of tokens.
type bench struct {
	*Server
	client procv3.ExternalProcessorClient

	mu    sync.Mutex
	dead  map[string]bool // by jti
	stale bool
}

func newBench(t *testing.T, maximum int) *bench {
	t.Helper()
	b := &bench{dead: map[string]bool{}}
	var err error
	b.Server, err = New(Config{Still: b.still, Fresh: b.fresh, Max: maximum})
	if err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	b.Register(server)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	conn, err := grpc.NewClient("passthrough:///authz",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		serving.Wait()
	})
	b.client = procv3.NewExternalProcessorClient(conn)
	return b
}

func (b *bench) still(id verify.Identity) check.Decision {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.dead[id.Revocation.ID]:
		return check.Decision{Reason: check.Revoked, Status: http.StatusUnauthorized, Headers: http.Header{"Www-Authenticate": {"Bearer"}}, Body: "{}"}
	case b.stale:
		return check.Decision{Reason: check.StaleRevocations, Status: http.StatusServiceUnavailable}
	case !id.Expires.IsZero() && !time.Now().Before(id.Expires):
		return check.Decision{Reason: check.InvalidToken, Status: http.StatusUnauthorized}
	}
	return check.Decision{Allowed: true}
}

func (b *bench) fresh() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.stale
}

func (b *bench) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// request is one request as Envoy tells of it.
type request struct {
	procv3.ExternalProcessor_ProcessClient
}

func headers(metadata map[string]string) *procv3.ProcessingRequest {
	fields := map[string]*structpb.Value{}
	for name, value := range metadata {
		fields[name] = structpb.NewStringValue(value)
	}
	m := &procv3.ProcessingRequest{Request: &procv3.ProcessingRequest_RequestHeaders{RequestHeaders: &procv3.HttpHeaders{}}}
	if metadata != nil {
		m.MetadataContext = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{extauthz.Namespace: {Fields: fields}}}
	}
	return m
}

func (b *bench) ask(t *testing.T, first *procv3.ProcessingRequest) (request, *procv3.ProcessingResponse) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	call, err := b.client.Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Send(first); err != nil {
		t.Fatal(err)
	}
	answer, err := call.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return request{call}, answer
}

// open opens a request that is to be held.
func (b *bench) open(t *testing.T, id verify.Identity) request {
	t.Helper()
	r, answer := b.ask(t, headers(map[string]string{extauthz.MetadataID: "d1", extauthz.MetadataToken: id.String()}))
	if answer.GetRequestHeaders() == nil {
		t.Fatalf("not let through: %v", answer)
	}
	return r
}

func token(id string) verify.Identity {
	return verify.Identity{Revocation: revocation.Token{Issuer: "https://login.test", Subject: "alice", ID: id}}
}

// wantRefusal receives the end of a request, and hangs up as Envoy does.
func (r request) wantRefusal(t *testing.T, status int) {
	t.Helper()
	m, err := r.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if got := int(m.GetImmediateResponse().GetStatus().GetCode()); got != status {
		t.Errorf("got %v, want an immediate response of %d", m, status)
	}
	_ = r.CloseSend()
}

func TestTheDeadAreEndedAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	one, two := b.open(t, token("1")), b.open(t, token("2"))
	b.Recheck(t.Context())
	b.set(func() { b.dead["1"] = true })
	rechecked := make(chan struct{})
	go func() {
		defer close(rechecked)
		b.Recheck(t.Context())
	}()
	one.wantRefusal(t, http.StatusUnauthorized)
	<-rechecked
	if err := two.Send(&procv3.ProcessingRequest{Request: &procv3.ProcessingRequest_ResponseTrailers{}}); err != nil {
		t.Fatal(err)
	}
	if m, err := two.Recv(); err != nil || m.GetResponseTrailers() == nil {
		t.Errorf("the other: %v %v", m, err)
	}
}

// TestRecheckWaitsForEnvoy: until the request is over there too, but not for
// ever: an Envoy that hangs must not hold up what others are told.
func TestRecheckWaitsForEnvoy(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	r := b.open(t, token("1"))
	b.set(func() { b.dead["1"] = true })
	begun := time.Now()
	b.Recheck(t.Context()) // nobody hangs up
	if took := time.Since(begun); took < patience {
		t.Errorf("it waited %v, want %v", took, patience)
	}
	begun = time.Now()
	b.Recheck(t.Context())
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it waited again, %v", took)
	}
	r.wantRefusal(t, http.StatusUnauthorized)
}

// TestABodyIsNotWanted: who shows bodies, and reads no answers, would come to
// where nothing can be sent to him, and hold up whoever ends his request.
func TestABodyIsNotWanted(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	r := b.open(t, token("1"))
	body := &procv3.ProcessingRequest{Request: &procv3.ProcessingRequest_RequestBody{RequestBody: &procv3.HttpBody{Body: make([]byte, 1000)}}}
	for range 1000 {
		if r.Send(body) != nil {
			break
		}
	}
	var err error
	for err == nil {
		_, err = r.Recv()
	}
	if code := status.Code(err); code != codes.ResourceExhausted {
		t.Errorf("ended with %v", err)
	}
}

// TestOneThatDiesBeforeItIsHeld is ended at once.
func TestOneThatDiesBeforeItIsHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	b.set(func() { b.dead["1"] = true })
	_, answer := b.ask(t, headers(map[string]string{extauthz.MetadataID: "d1", extauthz.MetadataToken: token("1").String()}))
	refusal := answer.GetImmediateResponse()
	if refusal.GetStatus().GetCode() != http.StatusUnauthorized || string(refusal.GetBody()) != "{}" || len(refusal.GetHeaders().GetSetHeaders()) != 1 {
		t.Errorf("got %v", answer)
	}
}

func TestStaleEndsAll(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	r := b.open(t, token("1"))
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	running.Go(func() { b.Run(ctx) })
	b.set(func() { b.stale = true })
	r.wantRefusal(t, http.StatusServiceUnavailable)
	cancel()
	running.Wait()
}

// TestWhatNobodyTellsEnds: a key that its issuer has withdrawn, say.
func TestWhatNobodyTellsEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	r := b.open(t, token("1"))
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	running.Go(func() { b.Run(ctx) })
	b.set(func() { b.dead["1"] = true })
	r.wantRefusal(t, http.StatusUnauthorized)
	cancel()
	running.Wait()
}

func TestExpiryEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	id := token("1")
	id.Expires = time.Now().Add(time.Second).Truncate(time.Second).Add(time.Second)
	b.open(t, id).wantRefusal(t, http.StatusUnauthorized)
	if time.Now().Before(id.Expires) {
		t.Error("ended too early")
	}
}

func TestWhatIsNotHeld(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	for name, tt := range map[string]struct {
		metadata map[string]string
		status   int // 0: let through
	}{
		"no token":         {map[string]string{extauthz.MetadataID: "d1", extauthz.MetadataToken: ""}, 0},
		"no metadata":      {nil, http.StatusServiceUnavailable},
		"no decision":      {map[string]string{extauthz.MetadataToken: token("1").String()}, http.StatusServiceUnavailable},
		"does not say":     {map[string]string{extauthz.MetadataID: "d1"}, http.StatusServiceUnavailable},
		"no such identity": {map[string]string{extauthz.MetadataID: "d1", extauthz.MetadataToken: "{}"}, http.StatusServiceUnavailable},
	} {
		r, answer := b.ask(t, headers(tt.metadata))
		if got := int(answer.GetImmediateResponse().GetStatus().GetCode()); got != tt.status || (got == 0) != (answer.GetRequestHeaders() != nil) {
			t.Errorf("%s: %v, want %d", name, answer, tt.status)
		}
		if _, err := r.Recv(); fmt.Sprint(err) != "EOF" {
			t.Errorf("%s: the call goes on: %v", name, err)
		}
	}
	b.open(t, token("1"))
	_, answer := b.ask(t, headers(map[string]string{extauthz.MetadataID: "d1", extauthz.MetadataToken: token("2").String()}))
	if got := answer.GetImmediateResponse().GetStatus().GetCode(); got != http.StatusServiceUnavailable {
		t.Errorf("one too many: %v", answer)
	}
}
