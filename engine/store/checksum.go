package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A value is stored with a checksum at its end, of which only the store below knows. What fails it is
// handed on in a form that nobody takes for a record: it is there, and damaged; never absent.

const sealed = 5 // a zero, which no JSON has, and the checksum

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal gives a value its stored form.
func Seal(value []byte) []byte {
	if len(value) == 0 {
		return value
	}
	out := make([]byte, 0, len(value)+sealed)
	out = append(append(out, value...), 0)
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(value, castagnoli))
}

// Open gives the value of its stored form.
func Open(stored []byte) []byte {
	if len(stored) == 0 {
		return stored
	}
	if end := len(stored) - sealed; end > 0 && stored[end] == 0 && binary.BigEndian.Uint32(stored[end+1:]) == crc32.Checksum(stored[:end], castagnoli) {
		return stored[:end:end]
	}
	return append([]byte{0}, stored...)
}

var errDamaged = errors.New("it is damaged in the state store: its checksum does not match")

// Damaged reports whether a value failed its checksum.
func Damaged(value []byte) bool { return len(value) > 0 && value[0] == 0 }
