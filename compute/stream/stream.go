// Package stream carries raw byte streams between the cloud's own processes: a console, a screen,
// the memory of a VM that moves. A stream begins as an HTTP/1.1 request on a connection that
// is secured already, and is upgraded. Nothing here knows what flows.
package stream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

// Protocol is what the request is upgraded to.
const Protocol = "virga-stream"

// Fail answers a request with a fault.
func Fail(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	w.Header().Set("Virga-Fault", string(kind))
	http.Error(w, err.Error(), kind.HTTPStatus())
}

// FaultOf reads the error of an agent's answer.
func FaultOf(r *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
	kind := fault.Kind(r.Header.Get("Virga-Fault"))
	if kind == "" {
		kind = fault.Unavailable
	}
	return fault.New(kind, "%s", strings.TrimSpace(string(text)))
}

// Pour answers a request with what a reader gives, each piece at once. An answer that breaks off is
// broken off before those who read it too: they would take it for the whole.
func Pour(w http.ResponseWriter, r io.Reader) {
	ctl := http.NewResponseController(w)
	piece := make([]byte, 32<<10)
	for {
		err := ctl.Flush() // first the head alone: who follows may wait long for the first word
		if err != nil {
			return // nobody reads any more
		}
		n, readErr := r.Read(piece)
		if n > 0 {
			_ = ctl.SetWriteDeadline(time.Now().Add(time.Minute)) // who does not read is not waited for
			_, err = w.Write(piece[:n])
		}
		switch {
		case err != nil:
			return
		case readErr == io.EOF:
			return
		case readErr != nil:
			panic(http.ErrAbortHandler)
		}
	}
}

// Splice copies both ways until one side ends, then closes both.
func Splice(a, b io.ReadWriteCloser) {
	var wg sync.WaitGroup
	var once sync.Once
	end := func() { once.Do(func() { a.Close(); b.Close() }) }
	for _, way := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		wg.Go(func() {
			defer end()
			_, _ = io.Copy(way[0], way[1])
		})
	}
	wg.Wait()
}

// Upgrade takes the connection out of HTTP's hands.
func Upgrade(w http.ResponseWriter) (net.Conn, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fault.New(fault.Internal, "take over the connection: %w", err)
	}
	_, err = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: Upgrade\r\n\r\n", Protocol)
	if err == nil {
		err = rw.Flush()
	}
	if err != nil {
		conn.Close()
		return nil, fault.New(fault.Unavailable, "answer the upgrade: %w", err)
	}
	return buffered{conn, rw.Reader}, nil
}

// buffered is a connection of which HTTP may have read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }
func (b buffered) CloseWrite() error          { return CloseWrite(b.Conn) }

// Steady is a connection whose other end is given up when it sends nothing for so long.
func Steady(c net.Conn, pause time.Duration) net.Conn { return steady{c, pause} }

type steady struct {
	net.Conn
	pause time.Duration
}

func (s steady) Read(p []byte) (int, error) {
	if err := s.SetReadDeadline(time.Now().Add(s.pause)); err != nil {
		return 0, err
	}
	return s.Conn.Read(p)
}

func (s steady) CloseWrite() error { return CloseWrite(s.Conn) }

// CloseWrite ends one direction of a connection; of one that cannot do that, both.
func CloseWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Open asks an agent for a stream. Dial opens a connection to the agent's address, secured
// and with certificates checked.
func Open(ctx context.Context, dial func(context.Context) (net.Conn, error), path string) (net.Conn, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "reach the host's agent: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	request, err := http.NewRequest(http.MethodGet, "http://agent"+path, nil)
	if err == nil {
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", Protocol)
		err = request.Write(conn)
	}
	if err != nil {
		conn.Close()
		return nil, fault.New(fault.Unavailable, "ask the host's agent for %s: %w", path, err)
	}
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, request)
	if err != nil {
		conn.Close()
		return nil, fault.New(fault.Unavailable, "the host's agent did not answer for %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		defer conn.Close()
		return nil, FaultOf(answer)
	}
	return buffered{conn, reader}, nil
}
