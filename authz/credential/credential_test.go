package credential

import (
	"errors"
	"strings"
	"testing"
)

func TestFromAuthorization(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		values []string
		token  string
		err    error
	}{
		{"no field", nil, "", ErrNone},
		{"DPoP", []string{"DPoP a.b-c"}, "a.b-c", nil},
		{"DPoP in any case", []string{"dpop abc"}, "abc", nil},
		{"bearer", []string{"Bearer a.b-c_d~e+f/g=="}, "a.b-c_d~e+f/g==", nil},
		{"any case", []string{"bEARER abc"}, "abc", nil},
		{"several spaces", []string{"Bearer   abc"}, "abc", nil},
		{"space around", []string{" \tBearer abc\t "}, "abc", nil},
		{"basic", []string{"Basic dXNlcjpwYXNz"}, "", ErrNone},
		{"digest, with commas of its own", []string{`Digest username="a", realm="b", uri="/"`}, "", ErrNone},
		{"scheme alone", []string{"Negotiate"}, "", ErrNone},
		{"longer scheme", []string{"BearerX abc"}, "", ErrNone},

		{"two fields", []string{"Bearer a", "Bearer a"}, "", ErrMultiple},
		{"two fields, one empty", []string{"Bearer a", ""}, "", ErrMultiple},
		{"two fields of other schemes", []string{"Basic a", "Basic b"}, "", ErrMultiple},
		{"comma-joined", []string{"Bearer a, Bearer b"}, "", ErrMultiple},
		{"comma-joined without space", []string{"Bearer a,Bearer b"}, "", ErrMultiple},
		{"comma at the end", []string{"Bearer a,"}, "", ErrMultiple},
		{"other scheme first", []string{"Basic a, Bearer b"}, "", ErrMultiple},
		{"other scheme first, lower case", []string{"Basic a,bearer b"}, "", ErrMultiple},
		{"other scheme without credentials first", []string{"Negotiate,Bearer b"}, "", ErrMultiple},
		{"other scheme, then a bearer behind a tab", []string{"Basic a,\tBearer\tb"}, "", ErrMultiple},

		{"bearer, then DPoP", []string{"Bearer a, DPoP b"}, "", ErrMultiple},
		{"DPoP, then bearer", []string{"DPoP a, Bearer b"}, "", ErrMultiple},
		{"other scheme, then DPoP", []string{"Basic a, dpop b"}, "", ErrMultiple},
		{"DPoP without a token", []string{"DPoP"}, "", ErrMalformed},

		{"empty", []string{""}, "", ErrMalformed},
		{"comma first", []string{", Bearer a"}, "", ErrMalformed},
		{"no token", []string{"Bearer"}, "", ErrMalformed},
		{"only spaces", []string{"Bearer   "}, "", ErrMalformed},
		{"only padding", []string{"Bearer =="}, "", ErrMalformed},
		{"padding inside", []string{"Bearer a=b"}, "", ErrMalformed},
		{"space inside", []string{"Bearer a b"}, "", ErrMalformed},
		{"tab for a space", []string{"Bearer\tabc"}, "", ErrMalformed},
		{"line break", []string{"Bearer abc\r\nX: y"}, "", ErrMalformed},
		{"NUL", []string{"Bearer abc\x00"}, "", ErrMalformed},
		{"quoted", []string{`Bearer "abc"`}, "", ErrMalformed},
		{"not ASCII", []string{"Bearer äbc"}, "", ErrMalformed},
		{"scheme not ASCII, but folding to it", []string{"Bea\u212Aer abc"}, "", ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := FromAuthorization(tt.values)
			if got.Token != tt.token || !errors.Is(err, tt.err) {
				t.Errorf("FromAuthorization(%q) = %q, %v; want %q, %v", tt.values, got.Token, err, tt.token, tt.err)
			}
			want := ""
			switch {
			case tt.err != nil:
			case strings.HasPrefix(tt.name, "DPoP"):
				want = DPoP
			default:
				want = Bearer
			}
			if got.Scheme != want {
				t.Errorf("scheme = %q, want %q", got.Scheme, want)
			}
		})
	}
}

func TestFromRequest(t *testing.T) {
	t.Parallel()
	const proof = "eyJ0.eyJq_.a-b"
	tests := []struct {
		name                string
		authorization, dpop []string
		want                Credential
		err                 error
	}{
		{"token and proof", []string{"DPoP abc"}, []string{proof}, Credential{DPoP, "abc", proof}, nil},
		{"space around the proof", []string{"DPoP abc"}, []string{" " + proof + "\t"}, Credential{DPoP, "abc", proof}, nil},
		{"no proof", []string{"DPoP abc"}, nil, Credential{DPoP, "abc", ""}, nil},
		{"bearer beside a proof", []string{"Bearer abc"}, []string{proof}, Credential{Bearer, "abc", proof}, nil},
		{"proof alone", nil, []string{proof}, Credential{}, ErrNone},
		{"nothing", nil, nil, Credential{}, ErrNone},

		{"two proofs", []string{"DPoP abc"}, []string{proof, proof}, Credential{}, ErrMultiple},
		{"two proofs beside a bearer", []string{"Bearer abc"}, []string{proof, proof}, Credential{}, ErrMultiple},
		{"two proofs alone", nil, []string{proof, proof}, Credential{}, ErrMultiple},
		{"comma-joined", []string{"DPoP abc"}, []string{proof + "," + proof}, Credential{}, ErrMultiple},
		{"two tokens", []string{"DPoP abc", "Bearer abc"}, []string{proof}, Credential{}, ErrMultiple},
		{"proof empty", []string{"DPoP abc"}, []string{""}, Credential{}, ErrMalformed},
		{"proof of two parts", []string{"DPoP abc"}, []string{"a.b"}, Credential{}, ErrMalformed},
		{"proof of four parts", []string{"DPoP abc"}, []string{"a.b.c.d"}, Credential{}, ErrMalformed},
		{"proof with padding", []string{"DPoP abc"}, []string{"a.b.c="}, Credential{}, ErrMalformed},
		{"proof with a space", []string{"DPoP abc"}, []string{"a.b .c"}, Credential{}, ErrMalformed},
	}
	for _, tt := range tests {
		got, err := FromRequest(tt.authorization, tt.dpop)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// FuzzFromAuthorization holds what must be true of every reading: a token is
// the whole rest of its one field, and never stands beside a second bearer.
func FuzzFromAuthorization(f *testing.F) {
	for _, s := range []string{"", "Bearer a", "bearer  a.b.c=", "Basic a, Bearer b", `Digest a="b", c="d"`, "Bearer a,", "Bearer a b", "DPoP a", "DPoP a, Bearer b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, err := FromAuthorization([]string{value})
		if err != nil {
			if c != (Credential{}) {
				t.Fatalf("%q: an error and a credential", value)
			}
			return
		}
		trimmed := strings.Trim(value, " \t")
		if c.Token == "" || strings.ContainsAny(c.Token, ", \t\r\n\x00\"") ||
			!strings.HasSuffix(trimmed, " "+c.Token) || !strings.EqualFold(trimmed[:len(c.Scheme)+1], c.Scheme+" ") {
			t.Fatalf("%q read as %q", value, c.Token)
		}
		if again, err := FromAuthorization([]string{c.Scheme + " " + c.Token}); err != nil || again != c {
			t.Fatalf("%q read again: %q, %v", c.Token, again.Token, err)
		}
		if _, err := FromAuthorization([]string{value, value}); !errors.Is(err, ErrMultiple) {
			t.Fatalf("twice: %v", err)
		}
	})
}

func BenchmarkFromAuthorization(b *testing.B) {
	values := []string{"Bearer " + strings.Repeat("eyJhbGciOi", 80)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FromAuthorization(values); err != nil {
			b.Fatal(err)
		}
	}
}
