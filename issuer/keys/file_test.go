package keys_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tegata/tegata/issuer/keys"
)

// TestTheKeyFileIsMadeOnce, for its owner alone, by whoever comes first.
func TestTheKeyFileIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	const processes = 16
	got := make([][]byte, processes)
	var wg sync.WaitGroup
	for i := range processes {
		wg.Go(func() {
			key, err := keys.ReadKeyFile(path, rand.Reader)
			if err != nil {
				t.Error(err)
			}
			got[i] = key
		})
	}
	wg.Wait()
	for _, key := range got {
		if len(key) != 32 || !bytes.Equal(key, got[0]) {
			t.Fatalf("keys of %d bytes and %d, equal: %v", len(key), len(got[0]), bytes.Equal(key, got[0]))
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v: drafts are left", entries, err)
	}
	other, err := keys.ReadKeyFile(filepath.Join(dir, "other"), rand.Reader)
	if err != nil || bytes.Equal(other, got[0]) {
		t.Errorf("two files have one key, %v", err)
	}
}

func TestWhatAKeyFileMayHold(t *testing.T) {
	t.Parallel()
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(250 + i) // so that base64 and base64url differ
	}
	text := hex.EncodeToString(key)
	std, url := base64.StdEncoding.EncodeToString(key), base64.URLEncoding.EncodeToString(key)
	for name, tt := range map[string]struct {
		text string
		mode os.FileMode
		ok   bool
	}{
		"hex":                        {text, 0o600, true},
		"hex, as openssl prints it":  {text + "\n", 0o600, true},
		"hex in capitals":            {strings.ToUpper(text), 0o600, true},
		"white space around it":      {" \t" + text + " \r\n\n", 0o600, true},
		"base64":                     {std, 0o600, true},
		"base64 without padding":     {strings.TrimRight(std, "="), 0o600, true},
		"base64url":                  {url + "\n", 0o600, true},
		"base64url without padding":  {strings.TrimRight(url, "="), 0o600, true},
		"its owner may only read it": {text, 0o400, true},
		"its group may read it":      {text, 0o640, false},
		"others may write it":        {text, 0o602, false},
		"empty":                      {"", 0o600, false},
		"white space":                {"\n", 0o600, false},
		"31 bytes":                   {text[2:], 0o600, false},
		"33 bytes":                   {text + "00", 0o600, false},
		"the bytes themselves":       {string(key), 0o600, false},
		"two keys":                   {text + "\n" + text, 0o600, false},
		"base64 over two lines":      {std[:20] + "\n" + std[20:], 0o600, false},
		"hex with a prefix":          {"0x" + text, 0o600, false},
		"a last letter with bits":    {strings.TrimRight(std, "=")[:42] + "9", 0o600, false},
		"a comment":                  {"# key\n" + text, 0o600, false},
		"much white space":           {strings.Repeat(" ", 2000) + text, 0o600, false},
		"much more":                  {text + strings.Repeat("0", 1<<20), 0o600, false},
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		got, err := keys.ReadKeyFile(path, bytes.NewReader(nil))
		if (err == nil) != tt.ok || err == nil && !bytes.Equal(got, key) {
			t.Errorf("%s: %x, %v, want ok: %v", name, got, err, tt.ok)
		}
		if err != nil && (strings.Contains(err.Error(), text[:8]) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v must name the file, and nothing in it", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != tt.text {
			t.Errorf("%s: the file was changed, %v", name, err)
		}
	}
}

// TestWhereNoKeyFileCanBe leaves nothing behind.
func TestWhereNoKeyFileCanBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := keys.ReadKeyFile(filepath.Join(dir, "key"), bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a key of 31 random bytes is accepted")
	}
	if _, err := keys.ReadKeyFile(filepath.Join(dir, "missing", "key"), rand.Reader); err == nil {
		t.Error("a file in no folder was made")
	}
	if _, err := keys.ReadKeyFile(dir, rand.Reader); err == nil {
		t.Error("a folder is accepted")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v are left", entries, err)
	}
	nowhere := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "gone"), nowhere); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.ReadKeyFile(nowhere, rand.Reader); err == nil {
		t.Error("a link to nothing is accepted")
	}
}
