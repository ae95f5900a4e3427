package stream

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// pair is the two ends of a TCP connection, and what has crossed it.
func pair(t *testing.T) (near, far net.Conn, crossed *counted) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	crossed = &counted{Conn: near}
	return crossed, far, crossed
}

type counted struct {
	net.Conn
	written int
}

func (c *counted) Write(p []byte) (int, error) {
	c.written += len(p)
	return c.Conn.Write(p)
}

func (c *counted) CloseWrite() error { return CloseWrite(c.Conn) }

func TestAPackedStreamIsWholeAndShort(t *testing.T) {
	random := make([]byte, 1<<20)
	chacha := rand.NewChaCha8([32]byte{1})
	_, _ = chacha.Read(random)
	for name, c := range map[string]struct {
		sent []byte
		most int // bytes that may cross
	}{
		"nothing":              {nil, 0},
		"one byte":             {[]byte{7}, 64},
		"like memory":          {bytes.Repeat([]byte("a page of a guest's memory, much like the next. "), 1<<16), 1 << 20},
		"what does not shrink": {random, len(random) + len(random)/100},
	} {
		t.Run(name, func(t *testing.T) {
			near, far, crossed := pair(t)
			go func() {
				out := Packed(near)
				if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{bytes.NewReader(c.sent)}, make([]byte, 256<<10)); err != nil {
					t.Error(err)
				}
				if err := CloseWrite(out); err != nil {
					t.Error(err)
				}
			}()
			got, err := io.ReadAll(Packed(far))
			if err != nil || !bytes.Equal(got, c.sent) {
				t.Fatalf("%d bytes sent, %d arrived, %v", len(c.sent), len(got), err)
			}
			if crossed.written > c.most {
				t.Errorf("%d bytes crossed for %d", crossed.written, len(c.sent))
			}
		})
	}
}

func TestAPackedWriteArrivesAtOnceAndBothWays(t *testing.T) {
	near, far, _ := pair(t)
	a, b := Packed(near), Packed(far)
	for range 3 {
		for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
			if _, err := way[0].Write([]byte("virga")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "virga" {
				t.Fatalf("got %q, %v", got, err)
			}
		}
	}
}

func TestAPackedStreamThatBreaksIsAnError(t *testing.T) {
	near, far, _ := pair(t)
	var whole bytes.Buffer
	whole.WriteString("\xff\x06\x00\x00S2sTwO") // a stream's beginning
	whole.Write([]byte{0x00, 0xff, 0x00, 0x00, 1, 2, 3})
	if _, err := near.Write(whole.Bytes()); err != nil {
		t.Fatal(err)
	}
	near.Close()
	if got, err := io.ReadAll(Packed(far)); err == nil {
		t.Errorf("half a block is taken for the end, after %d bytes", len(got))
	}
}

func TestBlocksArePackedAsFarAsThatIsFaster(t *testing.T) {
	const block, packing, ratio = 256 << 10, 600e6, 0.44 // bytes, bytes a second, what is left
	for name, c := range map[string]struct {
		link        float64 // bytes a second
		least, most int     // of 1000 blocks that go packed
	}{
		"1 Gbit/s":   {117e6, 980, 990},
		"2.5 Gbit/s": {290e6, 980, 990},
		"25 Gbit/s":  {2900e6, 15, 90},
	} {
		r, packed := adaptive{}, 0
		for range 1000 {
			way := r.next()
			seconds := block / c.link
			if way == compressed {
				packed++
				seconds = block/packing + ratio*block/c.link
			}
			r.took(way, block, time.Duration(seconds*float64(time.Second)))
		}
		if packed < c.least || packed > c.most {
			t.Errorf("%s: %d of 1000 blocks went packed", name, packed)
		}
	}
}

func TestALinkThatGetsSlowerIsNoticed(t *testing.T) {
	r := adaptive{}
	speed := [ways]float64{compressed: 500e6, asItIs: 2000e6}
	run := func() (last int) {
		for range 10 * tryOther {
			last = r.next()
			r.took(last, judged, time.Duration(judged/speed[last]*float64(time.Second)))
		}
		return r.faster()
	}
	if run() != asItIs {
		t.Error("a fast link gets packed blocks")
	}
	speed = [ways]float64{compressed: 200e6, asItIs: 100e6}
	if run() != compressed {
		t.Error("a link that became slow gets unpacked blocks")
	}
}
