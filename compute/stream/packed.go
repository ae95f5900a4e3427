package stream

import (
	"net"
	"time"

	"github.com/klauspost/compress/s2"
)

// Packed compresses what is written to a connection, as far as that is faster, and expands what is
// read from it; both ends must be packed. Each write is sent at once, as a block of its own: write
// large pieces. Whether a block is compressed is decided by how fast blocks went lately: on a
// slow link packing pays, on one that is faster than a processor packs it does not.
func Packed(conn net.Conn) net.Conn {
	p := &packed{Conn: conn, r: s2.NewReader(conn)}
	for way, more := range [ways][]s2.WriterOption{asItIs: {s2.WriterUncompressed()}} {
		p.w[way] = s2.NewWriter(conn, append(more, s2.WriterConcurrency(1), s2.WriterFlushOnWrite())...)
	}
	return p
}

// The two ways of a block. Their writers share the connection: an S2 stream may begin anew at any
// block (section 4.1 of the framing format).
const (
	compressed = iota
	asItIs
	ways
)

type packed struct {
	net.Conn
	r *s2.Reader
	w [ways]*s2.Writer
	adaptive
}

func (p *packed) Read(b []byte) (int, error) { return p.r.Read(b) }
func (p *packed) CloseWrite() error          { return CloseWrite(p.Conn) }

func (p *packed) Write(b []byte) (int, error) {
	way := p.next()
	begun := time.Now()
	n, err := p.w[way].Write(b)
	p.took(way, n, time.Since(begun))
	return n, err
}

// Compression adapts to the link: the faster one is taken, and at times the other, to see.
const (
	tryOther  = 64       // blocks
	judged    = 32 << 10 // bytes: shorter blocks say little
	oldWeight = 0.75
)

type adaptive struct {
	blocks int
	speed  [ways]float64 // bytes a second, smoothed; 0: not known
}

func (r *adaptive) next() int {
	r.blocks++
	switch faster := r.faster(); {
	case r.speed[compressed] == 0:
		return compressed
	case r.blocks%tryOther == 0:
		return ways - 1 - faster
	default:
		return faster
	}
}

func (r *adaptive) faster() int {
	if r.speed[asItIs] > r.speed[compressed] {
		return asItIs
	}
	return compressed
}

func (r *adaptive) took(way, bytes int, d time.Duration) {
	if bytes < judged || d <= 0 {
		return
	}
	now := float64(bytes) / d.Seconds()
	if old := r.speed[way]; old > 0 {
		now = oldWeight*old + (1-oldWeight)*now
	}
	r.speed[way] = now
}
