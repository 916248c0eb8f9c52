package verify

import "strings"

// normalURL writes a URL without query and fragment in the one form that
// normalTarget has. ok is false for what is no http(s) URL.
func normalURL(raw string) (normal string, ok bool) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", false
	}
	host, path := rest, ""
	if n := strings.IndexAny(rest, "/?#"); n >= 0 {
		host, path = rest[:n], rest[n:]
	}
	return normalTarget(scheme, host, path)
}

// normalTarget applies what RFC 9449 §4.3 asks for, the syntax-based and
// scheme-based normalization of RFC 3986 §6.2.2 and §6.2.3, so that a client
// and a proxy that spell one URL differently agree. What it returns is for
// comparison, not for use.
func normalTarget(scheme, host, path string) (normal string, ok bool) {
	scheme = strings.ToLower(scheme)
	port := map[string]string{"http": ":80", "https": ":443"}[scheme]
	if port == "" {
		return "", false
	}
	if host, ok = normalHost(strings.ToLower(host), port); !ok {
		return "", false
	}
	if n := strings.IndexAny(path, "?#"); n >= 0 {
		path = path[:n]
	}
	if path != "" && path[0] != '/' || hasControl(path) {
		return "", false
	}
	if path, ok = plainEscapes(path); !ok {
		return "", false
	}
	return scheme + "://" + host + withoutDots(path), true
}

// normalHost leaves out the port that goes without saying.
func normalHost(host, port string) (normal string, ok bool) {
	name, number := host, ""
	if n := strings.LastIndexByte(host, ':'); n > strings.LastIndexByte(host, ']') {
		name, number = host[:n], host[n:]
	}
	literal := len(name) > 2 && name[0] == '[' && name[len(name)-1] == ']'
	if !literal && strings.ContainsAny(name, "[]:") {
		return "", false
	}
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("/?#@%", r) }
	if name == "" || strings.ContainsFunc(host, odd) {
		return "", false
	}
	if number == ":" || number == port {
		return name, true
	}
	return host, true
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// plainEscapes decodes escapes of characters that need none, and writes the
// others in upper case (§6.2.2.1, §6.2.2.2). ok is false if one is broken.
func plainEscapes(path string) (plain string, ok bool) {
	if !strings.Contains(path, "%") {
		return path, true
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b.WriteByte(path[i])
			continue
		}
		if i+2 >= len(path) || hex(path[i+1]) < 0 || hex(path[i+2]) < 0 {
			return "", false
		}
		if c := byte(hex(path[i+1])<<4 | hex(path[i+2])); unreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String(), true
}

func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// withoutDots removes the segments . and .. (§5.2.4). An empty path is /.
func withoutDots(path string) string {
	if !strings.Contains(path, "/.") {
		if path == "" {
			return "/"
		}
		return path
	}
	var out []string
	segments := strings.Split(path[1:], "/")
	for n, segment := range segments {
		last := n == len(segments)-1
		switch segment {
		case ".", "..":
			if segment == ".." && len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/")
}
