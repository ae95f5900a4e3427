package qcow2

import (
	"encoding/binary"
	"errors"
	"io"
)

// Head is the fixed part of a qcow2 file's head, read without starting anything. What a stranger
// sent is judged by it before qemu-img may open the file.
type Head struct {
	Version      uint32
	Size         int64  // of the disk, in bytes
	ClusterBits  uint32 // the cluster size is 1 << ClusterBits
	HasBacking   bool   // it builds on another file
	HasDataFile  bool   // its content lies in another file
	Encrypted    bool
	Incompatible uint64 // feature bits
}

// ReadHead reads the head of a qcow2 file.
func ReadHead(r io.ReaderAt) (Head, error) {
	b := make([]byte, 104)
	if n, err := r.ReadAt(b, 0); n < 72 {
		return Head{}, errors.New("the file is too short for a qcow2 head: " + err.Error())
	}
	be := binary.BigEndian
	if be.Uint32(b) != 0x514649fb {
		return Head{}, errors.New("the file does not begin like a qcow2 file")
	}
	h := Head{Version: be.Uint32(b[4:]), HasBacking: be.Uint64(b[8:]) != 0 || be.Uint32(b[16:]) != 0,
		ClusterBits: be.Uint32(b[20:]), Size: int64(be.Uint64(b[24:])), Encrypted: be.Uint32(b[32:]) != 0}
	switch h.Version {
	case 2:
	case 3:
		h.Incompatible = be.Uint64(b[72:])
		h.HasDataFile = h.Incompatible&dataFile != 0
	default:
		return Head{}, errors.New("the file is of a qcow2 version that nobody knows")
	}
	if h.Size < 0 || h.ClusterBits < 9 || h.ClusterBits > 21 {
		return Head{}, errors.New("the head of the qcow2 file makes no sense")
	}
	return h, nil
}

// HeadSize gives the size of the disk in a qcow2 file, in bytes. It may be called while the disk is in use.
func HeadSize(r io.ReaderAt) (int64, error) {
	h, err := ReadHead(r)
	return h.Size, err
}

// longestBacking is how long the name of the file that another builds on may be, by the format.
const longestBacking = 1023

// BackingName reads the name of the file that a qcow2 file builds on; empty: none. Nothing is done
// with the name here: a guest's QEMU may have written it.
func BackingName(r io.ReaderAt) (string, error) {
	if _, err := ReadHead(r); err != nil {
		return "", err
	}
	b := make([]byte, 12)
	if _, err := r.ReadAt(b, 8); err != nil {
		return "", err
	}
	at, length := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	if at == 0 || length == 0 {
		return "", nil
	}
	if length > longestBacking || at > 1<<30 {
		return "", errors.New("the head of the qcow2 file makes no sense")
	}
	name := make([]byte, length)
	if _, err := r.ReadAt(name, int64(at)); err != nil {
		return "", err
	}
	return string(name), nil
}
