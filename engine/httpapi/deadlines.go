package httpapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// How long a stranger may take to send a request's body, and anybody to read an answer.
const (
	sending = 30 * time.Second
	reading = time.Minute
)

// patient is a handler that waits for slow bodies only so long, also for those of requests that are
// refused unread: the server reads what is left of them before it goes on.
type patient struct {
	http.Handler
	sending time.Duration
}

func (p patient) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctl := http.NewResponseController(w)
	_ = ctl.SetWriteDeadline(time.Time{}) // that of the answer before
	if r.Body != nil && r.Body != http.NoBody {
		_ = ctl.SetReadDeadline(time.Now().Add(p.sending))
		r = r.WithContext(r.Context())
		r.Body = &timedBody{ReadCloser: r.Body, ctl: ctl}
	}
	p.Handler.ServeHTTP(w, r)
}

// timedBody lifts the deadline when all has come: one that passes while the handler works would end
// the request.
type timedBody struct {
	io.ReadCloser
	ctl  *http.ResponseController
	each time.Duration // for each piece of what may be long and was admitted; 0: the whole has one deadline
}

func (b *timedBody) Read(p []byte) (int, error) {
	if b.each > 0 {
		_ = b.ctl.SetReadDeadline(time.Now().Add(b.each))
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.ctl.SetReadDeadline(time.Time{})
	}
	return n, err
}

// answering gives the reader of an answer its time, from now on.
func answering(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reading))
}

type connKey struct{}

// ConnOf gives the connection that a request came by, when the server is one of NewServer.
func ConnOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}
