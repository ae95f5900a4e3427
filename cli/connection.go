package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/client"
)

// call is one request for a record of any kind. In is sent as JSON unless body is set; what comes
// back goes into out.
type call struct {
	method, path string
	query        url.Values
	in           any
	body         io.Reader
	length       int64 // of body
	out          any
	once         bool // carries an Idempotency-Key
}

func (s *session) connection() (*client.Connection, error) {
	if s.conn == nil {
		o := client.Options{Server: s.server, Token: s.token, CAFile: s.ca}
		if s.server == "" {
			o.Socket = s.socket()
		}
		c, err := client.Connect(o)
		if err != nil {
			return nil, err
		}
		s.conn = c
	}
	return s.conn, nil
}

func (s *session) socket() string { return filepath.Join(s.run, "api.sock") }

// do makes a call and reads its answer.
func (s *session) do(ctx context.Context, r call) error {
	c, err := s.connection()
	if err != nil {
		return err
	}
	req, err := s.request(ctx, r)
	if err != nil {
		return err
	}
	answer, err := c.Do(req)
	if err != nil {
		return s.absent(err)
	}
	defer answer.Body.Close()
	if w, plain := r.out.(io.Writer); plain {
		_, err = io.Copy(w, answer.Body)
	} else if r.out != nil && answer.StatusCode != http.StatusNoContent {
		err = json.NewDecoder(answer.Body).Decode(r.out)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !errors.Is(err, io.EOF) { // an answer without a body
		return fail("unavailable", "read the server's answer: %v", err)
	}
	return nil
}

func (s *session) request(ctx context.Context, r call) (*http.Request, error) {
	body, kind := r.body, "application/octet-stream"
	if body == nil && r.in != nil {
		data, err := json.Marshal(r.in)
		if err != nil {
			return nil, fail("internal", "encode the request: %v", err)
		}
		body, kind, r.length = bytes.NewReader(data), "application/json", int64(len(data))
	}
	where := strings.TrimSuffix(s.server, "/")
	if where == "" {
		where = "http://virga"
	}
	where += r.path
	if len(r.query) > 0 {
		where += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, where, body)
	if err != nil {
		return nil, refuse("make the request: %v", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
		req.ContentLength = r.length
	}
	if r.once {
		req.Header.Set("Idempotency-Key", rand.Text())
	}
	return req, nil
}

// absent says it better when there is no server on this host at all, or the cloud's authority
// was not named.
func (s *session) absent(err error) error {
	if client.IsKind(err, "unauthenticated") && s.token == "" {
		return fail("unauthenticated", "%s asks who you are; give a token by $VIRGA_TOKEN or --token (virga token create makes one)", s.server)
	}
	if !client.IsKind(err, "unavailable") {
		return err
	}
	if s.server != "" {
		return s.stranger(err)
	}
	conn, dialed := net.Dial("unix", s.socket())
	switch {
	case dialed == nil:
		_ = conn.Close()
		return err
	case errors.Is(dialed, os.ErrPermission):
		return fail("denied", "not allowed to use %s; run this as root, or use --server and --token", s.socket())
	case errors.Is(dialed, os.ErrNotExist), errors.Is(dialed, syscall.ECONNREFUSED):
		return fail("unavailable", "no server at %s; start one with `virga up`, or name another with --server", s.socket())
	}
	return err
}

func (s *session) stranger(err error) error {
	u, parsed := url.Parse(s.server)
	if parsed != nil || s.ca != "" {
		return err
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "443")
	}
	conn, dialed := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Second}, "tcp", host, nil)
	if dialed == nil {
		_ = conn.Close()
	}
	if wrong, ok := errors.AsType[*tls.CertificateVerificationError](dialed); ok {
		return fail("unauthenticated", "%s is not known to be a server of your cloud: %v; name the file of the cloud's authority with --ca", s.server, wrong.Err)
	}
	return err
}
