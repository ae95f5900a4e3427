package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/coder/websocket"
)

// connection is the way to a server.
type connection struct {
	http  *http.Client
	base  string // "https://host:port", or "http://virga" over the socket
	where string // for sentences
	token string
}

// call is one request. In is sent as JSON unless body is set; what comes back goes into out.
type call struct {
	method, path string
	query        url.Values
	in           any
	body         io.Reader
	length       int64 // of body
	out          any
	once         bool // carries an Idempotency-Key
}

func connect(o *settings) (*connection, error) {
	if o.server == "" {
		socket := filepath.Join(o.run, "api.sock")
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		return &connection{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, base: "http://virga", where: socket, token: o.token}, nil
	}
	u, err := url.Parse(o.server)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, refuse("--server %q is no address of a server; write https://host:port", o.server)
	}
	if u.Scheme == "http" && o.token != "" && !isLoopback(u.Hostname()) {
		return nil, refuse("--server %s would send the token in the clear; write https://", o.server)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, refuse("read the server's authority: %v", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, refuse("--ca %s holds no certificate in PEM form", o.ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	}
	return &connection{http: &http.Client{Transport: transport}, base: strings.TrimSuffix(o.server, "/"), where: o.server, token: o.token}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// do makes a call and reads its answer.
func (c *connection) do(ctx context.Context, r call) error {
	answer, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if r.out == nil || answer.StatusCode == http.StatusNoContent {
		_, err = io.Copy(io.Discard, answer.Body)
	} else if w, plain := r.out.(io.Writer); plain {
		_, err = io.Copy(w, answer.Body)
	} else {
		err = json.NewDecoder(answer.Body).Decode(r.out)
		if errors.Is(err, io.EOF) { // an answer without a body
			err = nil
		}
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fail("unavailable", "read the answer of %s: %v", c.where, err)
	}
	return nil
}

// send makes a call and hands out its answer; anything but success is an error.
func (c *connection) send(ctx context.Context, r call) (*http.Response, error) {
	body := r.body
	if body == nil && r.in != nil {
		data, err := json.Marshal(r.in)
		if err != nil {
			return nil, fail("internal", "encode the request: %v", err)
		}
		body = bytes.NewReader(data)
	}
	where := c.base + r.path
	if len(r.query) > 0 {
		where += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, where, body)
	if err != nil {
		return nil, refuse("make the request: %v", err)
	}
	switch {
	case r.body != nil:
		req.Header.Set("Content-Type", "application/octet-stream")
		req.ContentLength = r.length
	case r.in != nil:
		req.Header.Set("Content-Type", "application/json")
	}
	if r.once {
		req.Header.Set("Idempotency-Key", rand.Text())
	}
	c.identify(req.Header)
	answer, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if answer.StatusCode >= 300 {
		defer answer.Body.Close()
		return nil, readFailure(answer, c.where)
	}
	return answer, nil
}

func (c *connection) identify(h http.Header) {
	if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
}

// unreachable says why the server was not reached, and what to do.
func (c *connection) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fail("unavailable", "no server at %s; start one with `virga up`, or name another with --server", c.where)
	case errors.Is(err, os.ErrPermission):
		return fail("denied", "not allowed to use %s; run this as root, or use --server and --token", c.where)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fail("unauthenticated", "%s is not known to be the cloud's: %v; name the cloud's authority with --ca", c.where, err)
	}
	return fail("unavailable", "reach the server at %s: %v", c.where, err)
}

// readFailure makes an error of an answer that is no success.
func readFailure(answer *http.Response, where string) error {
	data, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	f := &failure{}
	if json.Unmarshal(data, f) == nil && f.Kind != "" {
		return f
	}
	return fail("internal", "%s answered %s without saying why; is it a server of Virga?", where, answer.Status)
}

// dial opens a websocket.
func (c *connection) dial(ctx context.Context, path string) (*websocket.Conn, error) {
	o := &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: http.Header{}}
	c.identify(o.HTTPHeader)
	ws, answer, err := websocket.Dial(ctx, c.base+path, o)
	if err == nil {
		ws.SetReadLimit(1 << 20)
		return ws, nil
	}
	if answer != nil && answer.StatusCode >= 300 && answer.Body != nil {
		return nil, readFailure(answer, c.where)
	}
	return nil, c.unreachable(ctx, err)
}
