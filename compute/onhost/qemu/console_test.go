package qemu

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

func TestViewersShareOneLineAndASleeperHoldsNobodyUp(t *testing.T) {
	near, far := net.Pipe()
	m := &mux{conn: near, viewers: map[*viewer]struct{}{}, past: []byte("before ")}
	var wg sync.WaitGroup
	wg.Go(m.run)
	one, sleeper := m.attach(), m.attach()
	_, _ = far.Write([]byte("now "))
	buf := make([]byte, 11)
	if _, err := io.ReadFull(one, buf); err != nil || string(buf) != "before now " {
		t.Fatalf("%q, %v", buf, err)
	}
	_, _ = far.Write(bytes.Repeat([]byte("x"), 2*backlog)) // the sleeper reads none of it
	late := m.attach()
	go func() { _, _ = one.Write([]byte("typed")) }()
	typed := make([]byte, 5)
	if _, err := io.ReadFull(far, typed); err != nil || string(typed) != "typed" {
		t.Fatalf("%q, %v", typed, err)
	}
	_ = one.Close()
	if n, err := io.Copy(io.Discard, one); err != nil || n > 2*backlog {
		t.Fatalf("%d, %v", n, err)
	}
	_ = far.Close()
	wg.Wait()
	if n, err := io.Copy(io.Discard, sleeper); err != nil || n != backlog {
		t.Fatalf("the sleeper was kept %d bytes, %v", n, err)
	}
	if n, err := io.Copy(io.Discard, late); err != nil || n < pastSize || n > pastSize+4096 { // the last piece may have come just after
		t.Fatalf("one who came late was shown %d bytes, %v", n, err)
	}
}
