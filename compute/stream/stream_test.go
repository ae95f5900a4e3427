package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

func server(t *testing.T, h http.HandlerFunc) func(context.Context) (net.Conn, error) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
}

func TestAStreamCarriesBytesBothWays(t *testing.T) {
	dial := server(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, err := Upgrade(w)
		if err != nil {
			t.Error(err)
			return
		}
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(near, near); near.Close() }()
		Splice(conn, far)
	})
	conn, err := Open(t.Context(), dial, "/echo")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("virga")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "virga" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestARefusalArrivesAsItsFault(t *testing.T) {
	dial := server(t, func(w http.ResponseWriter, _ *http.Request) {
		Fail(w, fault.New(fault.Precondition, "the VM does not run"))
	})
	_, err := Open(t.Context(), dial, "/x")
	if !fault.Is(err, fault.Precondition) || err.Error() != "the VM does not run" {
		t.Fatalf("got %v", err)
	}
}

func TestADeadAgentIsUnavailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = Open(t.Context(), func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}, "/x")
	if !fault.Is(err, fault.Unavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestAConnectionThatSendsNothingIsGivenUp(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	go func() { _, _ = far.Write([]byte("a")) }()
	c := Steady(near, 50*time.Millisecond)
	if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := c.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%v", err)
	}
}
