package extauthz

import (
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
)

func scanSeeds(t testing.TB) [][]byte {
	t.Helper()
	var seeds [][]byte
	for _, http := range []*authv3.AttributeContext_HttpRequest{
		{},
		{Method: "GET", Path: "/orders?x=1", Host: "api", Scheme: "https", Protocol: "HTTP/2", Size: 12, Id: "7"},
		{Method: "POST", Path: "/", Headers: map[string]string{"authorization": "Bearer a.b.c", "x-y": "", ":path": "/"}, Body: "b"},
	} {
		b, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Source:            &authv3.AttributeContext_Peer{Principal: "spiffe://a/b"},
			Request:           &authv3.AttributeContext_Request{Http: http},
			ContextExtensions: map[string]string{"k": "v"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, b)
	}
	twice := append(append([]byte{}, seeds[1]...), seeds[2]...) // two attributes: the decoder merges them
	return append(seeds, nil, []byte("\x0a\xff"), twice)
}

// FuzzScan: what the scanner understands, the full decoder understands too,
// and in the same way. A difference would be an authorization bypass.
func FuzzScan(f *testing.F) {
	for _, seed := range scanSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		s, ok := scan(string(message))
		if !ok {
			return
		}
		var full authv3.CheckRequest
		if err := proto.Unmarshal(message, &full); err != nil {
			return // broken in a field that no known decision depends on
		}
		h := full.GetAttributes().GetRequest().GetHttp()
		if s.method != h.GetMethod() || s.path != h.GetPath() || s.host != h.GetHost() ||
			s.scheme != h.GetScheme() || s.protocol != h.GetProtocol() || h.GetHeaderMap() != nil {
			t.Fatalf("scanned %+v, decoded %v", s, h)
		}
		if len(s.headers) != len(h.GetHeaders()) {
			t.Fatalf("scanned %d headers, decoded %d", len(s.headers), len(h.GetHeaders()))
		}
		for _, sh := range s.headers {
			if v, ok := h.GetHeaders()[sh.name]; !ok || v != sh.value {
				t.Fatalf("header %q: scanned %q, decoded %q", sh.name, sh.value, v)
			}
		}
	})
}

func TestScanReadsWhatEnvoySends(t *testing.T) {
	t.Parallel()
	s, ok := scan(string(scanSeeds(t)[2]))
	if !ok {
		t.Fatal("an ordinary request was not understood")
	}
	if v, _ := s.header("authorization"); s.method != "POST" || s.path != "/" || v != "Bearer a.b.c" {
		t.Errorf("scanned %+v", s)
	}
}

func TestScanLeavesTheUnusualToTheDecoder(t *testing.T) {
	t.Parallel()
	seeds := scanSeeds(t)
	for i, message := range [][]byte{seeds[3], seeds[4], seeds[5]} {
		if _, ok := scan(string(message)); ok {
			t.Errorf("message %d was taken", i)
		}
	}
}
