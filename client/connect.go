package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
)

// Options say where a server is. Socket wins over Server.
type Options struct {
	Socket string // a unix socket
	Server string // as Address takes it
	Token  string // the secret of a token; on the socket root needs none
	CAFile string // the certificate of the cloud's authority, PEM; none: the system's authorities
	CA     string // the certificate itself; CAFile wins
}

// Connection is the way to a server.
type Connection struct {
	http  *http.Client
	base  string
	token string
}

// Connect makes a connection. It does not ask the server anything yet.
func Connect(o Options) (*Connection, error) {
	c := &Connection{token: o.Token}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute}
	switch {
	case o.Socket != "":
		c.base = "http://virga"
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", o.Socket)
		}
	default:
		base, err := Address(o.Server)
		if err != nil {
			return nil, err
		}
		c.base = base
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13}
		if transport.TLSClientConfig.RootCAs, err = o.authorities(); err != nil {
			return nil, err
		}
	}
	c.http = &http.Client{Transport: transport}
	return c, nil
}

// authorities are those that a server's certificate may come from; nil: the system's.
func (o Options) authorities() (*x509.CertPool, error) {
	pem, where := []byte(o.CA), "the cloud's authority"
	if o.CAFile != "" {
		data, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, newError("invalid", "read the cloud's authority: %v", err)
		}
		pem, where = data, o.CAFile
	}
	if len(pem) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, newError("invalid", "%s holds no certificate", where)
	}
	return pool, nil
}

// Do sends a request and turns a problem into an *Error.
func (c *Connection) Do(r *http.Request) (*http.Response, error) {
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		if r.Context().Err() != nil {
			return nil, r.Context().Err()
		}
		return nil, newError("unavailable", "reach the server: %v", err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readError(resp)
}

// Dial opens a websocket: a console, a screen.
func (c *Connection) Dial(ctx context.Context, path string, protocols ...string) (*websocket.Conn, error) {
	o := &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: http.Header{}, Subprotocols: protocols}
	if c.token != "" {
		o.HTTPHeader.Set("Authorization", "Bearer "+c.token)
	}
	conn, resp, err := websocket.Dial(ctx, c.base+path, o)
	if err == nil {
		return conn, nil
	}
	if resp != nil && resp.StatusCode >= 400 {
		return nil, readError(resp)
	}
	return nil, newError("unavailable", "open %s: %v", path, err)
}

// Error is a fault that the server answered, or one of the way to it.
type Error struct {
	Kind    string // a word of the closed list: "not-found"
	Message string
	Details []ErrorDetail
}

// ErrorDetail points at one wrong field of a request.
type ErrorDetail struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

var exitCodes = map[string]int{
	"internal": 1, "invalid": 2, "unauthenticated": 3, "denied": 4, "not-found": 5, "exists": 6,
	"conflict": 7, "precondition": 8, "exhausted": 9, "unavailable": 10, "too-late": 11, "stale": 12,
}

// ExitCode is the exit code of a command that ends with an error; 0 for none.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok && exitCodes[e.Kind] != 0 {
		return exitCodes[e.Kind]
	}
	if e, ok := errors.AsType[interface { // an error that did not come over the API knows its own
		error
		ExitCode() int
	}](err); ok {
		return e.ExitCode()
	}
	return 1
}

// IsKind reports whether an error is a fault of a kind.
func IsKind(err error, kind string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == kind
}

func newError(kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

func readError(resp *http.Response) *Error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var p struct {
		Kind   string        `json:"kind"`
		Detail string        `json:"detail"`
		Errors []ErrorDetail `json:"errors"`
	}
	if err != nil || json.Unmarshal(data, &p) != nil || p.Kind == "" {
		return newError("unavailable", "the server answered %s, and not as a Virga server does; check the address", resp.Status)
	}
	return &Error{Kind: p.Kind, Message: p.Detail, Details: p.Errors}
}
