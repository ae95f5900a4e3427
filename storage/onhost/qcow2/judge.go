package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// The feature bits that a reader must know: dirty, corrupt, external data file, compression, extended L2.
const (
	corrupt       = 2
	dataFile      = 4
	knownFeatures = 1 | corrupt | dataFile | 8 | 16
)

// Corrupt reports whether the file is marked as damaged.
func (h Head) Corrupt() bool { return h.Incompatible&corrupt != 0 }

// Unknown are the features that a reader must know and we do not.
func (h Head) Unknown() uint64 { return h.Incompatible &^ uint64(knownFeatures) }

const (
	endOfExtensions = 0
	backingFormat   = 0xe2792aca
	mostExtensions  = 64
)

// Judge decides whether a program may open a qcow2 file that a stranger could have written. What would
// lead it to another file than the one that is wanted as its backing, or to code that nobody
// has looked at, is refused. Backing is given the name of what the file builds on; nil: nothing may be.
func Judge(r io.ReaderAt, backing func(name string) error) error {
	h, err := ReadHead(r)
	switch {
	case err != nil:
		return err
	case h.HasDataFile:
		return errors.New("the head of the qcow2 file says that its content lies in another file")
	case h.Encrypted:
		return errors.New("the head of the qcow2 file says that it is encrypted")
	case h.Corrupt():
		return errors.New("the qcow2 file is marked as corrupt; repair it: qemu-img check -r all")
	case h.Unknown() != 0:
		return fmt.Errorf("the head of the qcow2 file asks for features that are not known here (bits %#x)", h.Unknown())
	case !h.HasBacking:
		return nil
	}
	name, err := BackingName(r)
	if err != nil {
		return err
	}
	if name == "" || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return errors.New("the head of the qcow2 file makes no sense")
	}
	if backing == nil {
		return fmt.Errorf("the head of the qcow2 file says that it builds on %q", name)
	}
	if err := backing(name); err != nil {
		return err
	}
	format, err := formatOfBacking(r, h.Version)
	if err == nil && format != QCOW2 {
		err = fmt.Errorf("the head of the qcow2 file says that it builds on a file of the format %q", format)
	}
	return err
}

// formatOfBacking reads the extensions of the head: without this one a reader would guess.
func formatOfBacking(r io.ReaderAt, version uint32) (string, error) {
	b, at := make([]byte, 8), int64(72)
	if version >= 3 {
		if _, err := r.ReadAt(b[:4], 100); err != nil {
			return "", err
		}
		at = int64(binary.BigEndian.Uint32(b))
	}
	for range mostExtensions {
		if _, err := r.ReadAt(b, at); err != nil {
			return "", fmt.Errorf("read the head of the qcow2 file: %w", err)
		}
		kind, length := binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint32(b[4:]))
		if kind == backingFormat && length < 16 {
			format := make([]byte, length)
			_, err := r.ReadAt(format, at+8)
			return string(format), err
		}
		if kind == endOfExtensions || length > 1<<20 {
			break
		}
		at += 8 + (length+7)&^7
	}
	return "", errors.New("the head of the qcow2 file does not say of what format the file is that it builds on")
}
