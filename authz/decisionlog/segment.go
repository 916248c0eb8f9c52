package decisionlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A segment is a file of records, one after the other:
//
//	length  4 bytes, little endian, of the event
//	sum     4 bytes, CRC-32C of length and event
//	event
//
// The sum covers the length too, so that a file that a power failure left
// full of zeros holds no record.
const (
	recordHeader = 8
	maxRecord    = 64 << 20 // no event is larger: see Config.MaxEvent
)

// errTorn says that what follows is no whole record.
var errTorn = errors.New("torn record")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(length, event []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, event)
}

// appendRecord appends the record of an event.
func appendRecord(dst, event []byte) []byte {
	var header [recordHeader]byte
	binary.LittleEndian.PutUint32(header[:4], uint32(len(event)))
	binary.LittleEndian.PutUint32(header[4:], sum(header[:4], event))
	return append(append(dst, header[:]...), event...)
}

// recordSize is the bytes of an event's record.
func recordSize(event []byte) int64 { return recordHeader + int64(len(event)) }

// readRecord reads one event, of which at most limit bytes are left. io.EOF:
// there is none; errTorn: what is there is not a record.
func readRecord(r *bufio.Reader, limit int64) ([]byte, error) {
	var header [recordHeader]byte
	switch _, err := io.ReadFull(r, header[:]); {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errTorn
	case err != nil:
		return nil, err
	}
	length := binary.LittleEndian.Uint32(header[:4])
	if length > maxRecord || int64(length) > limit-recordHeader {
		return nil, errTorn
	}
	event := make([]byte, length)
	switch _, err := io.ReadFull(r, event); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errTorn
	case err != nil:
		return nil, err
	}
	if sum(header[:4], event) != binary.LittleEndian.Uint32(header[4:]) {
		return nil, errTorn
	}
	return event, nil
}

// scan reads records until the first that is not whole, and returns the place
// behind the last that is. err is what stopped the reading but for the end:
// errTorn, or what the reader failed with.
func scan(r io.Reader, size int64, each func(event []byte, end int64)) (end int64, err error) {
	br := bufio.NewReader(r)
	for {
		event, err := readRecord(br, size-end)
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return end, err
		}
		end += recordSize(event)
		each(event, end)
	}
}
