package image

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/virga-cloud/virga/engine/fault"
)

// The bounds of what is unpacked: a small file may claim to be a disk of any size.
const (
	unpackWindow = 256 << 20 // bytes that a stream may make its reader keep
	unpackRatio  = 1000      // how many times larger it may become
	unpackLeast  = 64 << 30  // what it may become however small it is; zeros take no room
)

// packers are the ways in which files are compressed, by how they begin.
var packers = []struct {
	name, begins string
	open         func(io.Reader) (io.Reader, error)
}{
	{"gzip", "\x1f\x8b", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"bzip2", "BZh", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{"xz", "\xfd7zXZ\x00", openXZ},
	{"zstd", "\x28\xb5\x2f\xfd", openZstd},
	{"lz4", "\x04\x22\x4d\x18", openLZ4},
	{"lz4", "\x02\x21\x4c\x18", openLZ4}, // the form of before
}

func openZstd(r io.Reader) (io.Reader, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(unpackWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*unpackWindow))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// openXZ refuses a stream that would have its reader keep a large dictionary.
func openXZ(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 4096)
	head, _ := b.Peek(64)
	if n, ok := xzDictionary(head); ok && n > unpackWindow {
		return nil, fault.New(fault.Invalid, "it was compressed with a dictionary of %d MiB; at most %d are taken", n/mib, unpackWindow/mib)
	}
	return xz.NewReader(b)
}

// xzDictionary reads the size of the dictionary in the head of the first block.
func xzDictionary(head []byte) (int64, bool) {
	if len(head) < 24 || head[12] == 0 {
		return 0, false
	}
	flags, at := head[13], 14
	skip := func() { // a number of seven bits a byte
		for at < len(head) && head[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if flags&0x40 != 0 {
		skip()
	}
	if flags&0x80 != 0 {
		skip()
	}
	if at+2 >= len(head) || head[at] != 0x21 || head[at+1] != 1 {
		return 0, false
	}
	n, err := lzma.DecodeDictCap(head[at+2])
	return n, err == nil
}

// openLZ4 reads one frame after the other.
func openLZ4(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	return &frames{b: b, r: lz4.NewReader(b)}, nil
}

type frames struct {
	b *bufio.Reader
	r *lz4.Reader
}

func (f *frames) Read(p []byte) (int, error) {
	for {
		n, err := f.r.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		if _, more := f.b.Peek(4); more != nil {
			return 0, io.EOF
		}
		f.r.Reset(f.b)
	}
}

// packedBy says how a file is compressed by its first bytes; empty: not at all.
func packedBy(file string) (string, error) {
	f, _, err := openSized(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 8)
	n, _ := io.ReadFull(f, head)
	for _, p := range packers {
		if strings.HasPrefix(string(head[:n]), p.begins) {
			return p.name, nil
		}
	}
	return "", nil
}

// unpack writes the content of a compressed file to another, zeros as holes, and says how large it is.
func (im *Importer) unpack(ctx context.Context, file, to, by string) error {
	f, size, err := openSized(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return im.unpackStream(&interruptible{ctx, f}, size, to, by)
}

func (im *Importer) unpackStream(r io.Reader, size int64, to, by string) error {
	open := packers[0].open
	known := false
	for _, p := range packers {
		if p.name == by {
			open, known = p.open, true
			break
		}
	}
	if !known {
		return fault.New(fault.Invalid, "what came is compressed by %q; gzip, bzip2, xz, zstd and lz4 are known", short(by))
	}
	in, err := open(bufio.NewReaderSize(r, 1<<20))
	if err != nil {
		return damaged(by, err)
	}
	if c, ok := in.(io.Closer); ok {
		defer c.Close()
	}
	most := min(im.most(), max(unpackLeast, size*unpackRatio))
	n, err := writeSparse(to, io.LimitReader(in, most+1))
	switch {
	case err != nil:
		return damaged(by, err)
	case n > most:
		return fault.New(fault.Invalid, "what came is compressed by %s and becomes more than %d MiB; no more are taken", by, most/mib)
	}
	return nil
}

func damaged(by string, err error) error {
	if _, ours := errors.AsType[*fault.Error](err); ours || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.New(fault.Invalid, "what came is compressed by %s and damaged, or cut off (%s); fetch it again", by, short(err.Error()))
}

// writeSparse writes a file in which blocks of zeros are holes.
func writeSparse(to string, r io.Reader) (n int64, err error) {
	out, err := os.Create(to)
	if err != nil {
		return 0, fault.New(fault.Internal, "unpack it: %w", err)
	}
	defer func() {
		if e := out.Close(); err == nil && e != nil {
			err = noSpace(fault.New(fault.Internal, "unpack it: %w", e))
		}
	}()
	room := &roomy{w: out, path: to}
	block := make([]byte, 64<<10)
	zeros := make([]byte, len(block))
	for {
		got, end := fill(r, block)
		if got > 0 && !bytes.Equal(block[:got], zeros[:got]) {
			if _, err := out.Seek(n, io.SeekStart); err != nil {
				return n, fault.New(fault.Internal, "unpack it: %w", err)
			}
			if _, err := room.Write(block[:got]); err != nil {
				if fault.Is(err, fault.Exhausted) {
					return n, err
				}
				return n, noSpace(fault.New(fault.Internal, "unpack it: %w", err))
			}
		}
		n += int64(got)
		if errors.Is(end, io.EOF) {
			return n, out.Truncate(n)
		}
		if end != nil {
			return n, end
		}
	}
}

// fill reads until a block is full. Unlike io.ReadFull it tells an end from a stream that is cut off.
func fill(r io.Reader, block []byte) (n int, err error) {
	for n < len(block) && err == nil {
		var got int
		got, err = r.Read(block[n:])
		n += got
	}
	return n, err
}
