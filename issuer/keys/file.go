package keys

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxKeyFile bounds what is read of a key file, in bytes.
const maxKeyFile = 1024

// ReadKeyFile reads the 32-byte (hex or base64) sealing key, or creates the
// file with mode 0600 if it does not exist. A file that group or others may
// touch is refused: what opens every private key must not be lying about.
func ReadKeyFile(path string, rand io.Reader) ([]byte, error) {
	key, err := readKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	err = createKeyFile(path, rand)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making key file %s: %w", path, err)
	}
	return readKeyFile(path) // ours, or that of a process that was faster
}

// ReadExistingKeyFile is ReadKeyFile for a file that must be there.
func ReadExistingKeyFile(path string) ([]byte, error) { return readKeyFile(path) }

func readKeyFile(path string) (key []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading key file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s is not a file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o, so that others than its owner may use it: run chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading key file: %w", err)
	}
	if key, err = parseKeyFile(string(text)); err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return key, nil
}

// parseKeyFile reads one key in hex, base64 or base64url, padded or not, with
// white space around it.
func parseKeyFile(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	// encoding/base64 skips line breaks; one key is one word.
	if len(text) <= maxKeyFile && !strings.ContainsAny(text, "\r\n") {
		for _, decode := range []func(string) ([]byte, error){
			hex.DecodeString,
			base64.StdEncoding.Strict().DecodeString, base64.RawStdEncoding.Strict().DecodeString,
			base64.URLEncoding.Strict().DecodeString, base64.RawURLEncoding.Strict().DecodeString,
		} {
			if key, err := decode(text); err == nil && len(key) == sealSize {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("want %d bytes as hex or base64, as openssl rand -hex %d prints", sealSize, sealSize)
}

// createKeyFile makes a key and its file in one step: another process sees the
// whole file or none, and the second of two gets fs.ErrExist. The key is on the
// disk before anything can be sealed with it.
func createKeyFile(path string, rand io.Reader) error {
	key := make([]byte, sealSize)
	if _, err := io.ReadFull(rand, key); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	draft, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }() // the link stays
	_, err = draft.WriteString(hex.EncodeToString(key) + "\n")
	if err = errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return err
	}
	if err := os.Link(draft.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// syncFolder makes the names in a folder outlast a crash.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
