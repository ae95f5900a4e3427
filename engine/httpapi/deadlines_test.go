package httpapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func causeOf(r *http.Request) error { return context.Cause(r.Context()) }

// slow begins a request whose body never comes whole, and gives what is answered.
func (y *toy) slow(who, header string) *http.Response {
	y.t.Helper()
	conn, err := tls.Dial("tcp", y.server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's own server
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%s\r\n\r\n{", inA, who, header)
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		y.t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestBodiesThatDoNotComeAreNotWaitedForLong(t *testing.T) {
	y := newToy(t)
	y.server.Config.Handler = patient{y.API, 50 * time.Millisecond}
	for _, c := range []struct {
		who, header string
		status      int
	}{
		{"member", "Content-Length: 100", 408},
		{"member", "Transfer-Encoding: chunked", 408},
		{"nobody", "Content-Length: 100", 401}, // what is refused unread is not waited for either
		{"member", "Content-Length: 2000000", 413},
	} {
		if resp := y.slow(c.who, c.header); resp.StatusCode != c.status {
			t.Errorf("%s, %s: %d", c.who, c.header, resp.StatusCode)
		}
	}
}

func TestHandlersThatWaitLongerThanTheBodyMayTakeAreNotEnded(t *testing.T) {
	y := newToy(t)
	y.server.Config.Handler = patient{y.API, 30 * time.Millisecond}
	p := y.want(503, y.do("member", "POST", inA+"?wait=ready&timeout=150ms", `{"name":"ann"}`)).problem(t)
	if !strings.Contains(p.Detail, "not ready after") {
		t.Error(p.Detail)
	}
}
