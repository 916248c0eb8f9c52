package session

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tegata/tegata/issuer/realm"
	"github.com/tegata/tegata/revocation"
)

// Errors of devices that wait (RFC 8628 §3.5).
var (
	ErrPending  = errors.New("device: nobody has decided yet")
	ErrTooFast  = errors.New("device: asked again too soon")
	ErrDenied   = errors.New("device: the person refused")
	ErrTimedOut = errors.New("device: nobody decided in time")
)

// Kinds of single-use values of devices: the code of the device, and the one
// that its person types, which finds the other.
const (
	kindDevice   = "device"
	kindUserCode = "user code"
)

// deviceMemory is for how long a device that comes too late is told so.
const deviceMemory = 10 * time.Minute

// userCodeLetters have no vowels, so that no word comes of them (RFC 8628
// §6.1); eight of them are 34 bits.
const userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"

// Device is a device that waits for a person's decision.
type Device struct {
	ClientID string
	Scope    string // that will be granted
	Asked    Asked
	Expires  time.Time
	Interval time.Duration // how long it waits between its questions

	// Of the decision.
	Decided   bool
	Denied    bool
	SessionID string // of the browser that the person is in
	UserID    string
	ACR       string
	AuthTime  time.Time
	Rev       revocation.Revision // newest at that moment

	Polled time.Time // when the device last asked
}

// StartDevice lets a device wait for as long as life, and returns its code and
// the one that the person is to type.
func (s *Sessions) StartDevice(ctx context.Context, r realm.Realm, d Device, life time.Duration) (code, userCode string, err error) {
	if code, err = s.newSecret(); err != nil {
		return "", "", err
	}
	if userCode, err = s.newUserCode(); err != nil {
		return "", "", err
	}
	d.Expires = s.now().Add(life)
	key := hash(r, kindDevice, code)
	_, err = s.store.Write(ctx, func(tx Tx) error {
		typed := hash(r, kindUserCode, plainUserCode(userCode))
		if _, err := tx.SingleUse(typed); !errors.Is(err, ErrNotFound) { // one in 2^34
			return errors.Join(err, errors.New("user code is taken"))
		}
		if err := putDevice(tx, key, d); err != nil {
			return err
		}
		return tx.PutSingleUse(SingleUse{Hash: typed, Kind: kindUserCode, Body: []byte(hex.EncodeToString(key)), Expires: d.Expires})
	})
	return code, userCode, outcome(err, "starting a device")
}

func (s *Sessions) newUserCode() (string, error) {
	var b strings.Builder
	for b.Len() < 9 {
		var random [1]byte
		if _, err := io.ReadFull(s.rand, random[:]); err != nil {
			return "", fmt.Errorf("making a user code: %w", err)
		}
		if b.Len() == 4 {
			b.WriteByte('-')
		}
		if n := int(random[0]); n < 256/len(userCodeLetters)*len(userCodeLetters) { // each as likely
			b.WriteByte(userCodeLetters[n%len(userCodeLetters)])
		}
	}
	return b.String(), nil
}

// plainUserCode is a code as a person may have typed it, without what does not
// count (RFC 8628 §6.1).
func plainUserCode(typed string) string {
	return strings.Map(func(c rune) rune {
		if c == '-' || c == ' ' {
			return -1
		}
		return c
	}, strings.ToUpper(typed))
}

func putDevice(tx Tx, key []byte, d Device) error {
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding a device: %w", err)
	}
	return tx.PutSingleUse(SingleUse{Hash: key, Kind: kindDevice, Body: body, Used: d.Decided, Expires: d.Expires.Add(deviceMemory)})
}

func device(v View, key []byte) (Device, error) {
	u, err := v.SingleUse(key)
	if err != nil {
		return Device{}, err
	}
	var d Device
	if err := json.Unmarshal(u.Body, &d); err != nil {
		return Device{}, fmt.Errorf("decoding a device: %w", err)
	}
	return d, nil
}

// waiting is the device of a user code; ErrNotFound unless it waits.
func waiting(v View, r realm.Realm, userCode string, now time.Time) (key []byte, d Device, err error) {
	u, err := v.SingleUse(hash(r, kindUserCode, plainUserCode(userCode)))
	if err != nil {
		return nil, d, err
	}
	if key, err = hex.DecodeString(string(u.Body)); err != nil {
		return nil, d, err
	}
	if d, err = device(v, key); err == nil && (d.Decided || !now.Before(d.Expires)) {
		err = ErrNotFound
	}
	return key, d, err
}

// WaitingDevice is the device that waits under a user code, or ErrNotFound.
func (s *Sessions) WaitingDevice(ctx context.Context, r realm.Realm, userCode string) (Device, error) {
	var d Device
	err := s.store.Read(ctx, func(v View) (err error) {
		_, d, err = waiting(v, r, userCode, s.now())
		return err
	})
	return d, outcome(err, "finding a device")
}

// DecideDevice writes down a person's decision: Denied, or who they are and in
// which session. ErrNotFound if nothing waits under that code any more.
func (s *Sessions) DecideDevice(ctx context.Context, r realm.Realm, userCode string, decision Device) error {
	_, err := s.store.Write(ctx, func(tx Tx) error {
		key, d, err := waiting(tx, r, userCode, s.now())
		if err != nil {
			return err
		}
		if d.Rev, err = tx.Revision(); err != nil {
			return err
		}
		d.Decided, d.Denied = true, decision.Denied
		d.SessionID, d.UserID, d.ACR, d.AuthTime = decision.SessionID, decision.UserID, decision.ACR, decision.AuthTime
		return putDevice(tx, key, d)
	})
	return outcome(err, "deciding about a device")
}

// PollDevice is a device's question. Its client is told apart from others'
// before anything else. A decision is handed out once.
func (s *Sessions) PollDevice(ctx context.Context, r realm.Realm, clientID, code string) (Device, error) {
	now, key := s.now(), hash(r, kindDevice, code)
	var d Device
	_, err := s.write(ctx, "asking about a device", func(tx Tx) (verdict, err error) {
		d, err = device(tx, key)
		if errors.Is(err, ErrNotFound) || err == nil && d.ClientID != clientID {
			return ErrNotFound, nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case !now.Before(d.Expires):
			return ErrTimedOut, nil
		case now.Sub(d.Polled) < d.Interval:
			return ErrTooFast, nil
		case !d.Decided:
			d.Polled = now
			return ErrPending, putDevice(tx, key, d)
		case d.Denied:
			return ErrDenied, nil
		}
		spent := d
		spent.ClientID = "" // nobody's any more
		return nil, putDevice(tx, key, spent)
	})
	if err != nil {
		return Device{}, err
	}
	return d, nil
}
