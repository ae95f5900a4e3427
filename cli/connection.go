package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/client"
)

func (s *session) connection() (*client.Connection, error) {
	if s.conn == nil {
		if err := s.settle(); err != nil {
			return nil, err
		}
		o := client.Options{Server: s.server, Token: s.token, CAFile: s.ca, CA: s.authority}
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

// do makes a call, and says it better when there is nobody to ask.
func (s *session) do(ctx context.Context, a client.Call) error {
	c, err := s.connection()
	if err != nil {
		return err
	}
	return s.absent(c.Call(ctx, a))
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
	address, bad := client.Address(s.server)
	u, parsed := url.Parse(address)
	if bad != nil || parsed != nil || s.ca+s.authority != "" {
		return err
	}
	conn, dialed := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Second}, "tcp", u.Host, nil)
	if dialed == nil {
		_ = conn.Close()
	}
	if wrong, ok := errors.AsType[*tls.CertificateVerificationError](dialed); ok {
		return fail("unauthenticated", "%s is not known to be a server of your cloud: %v; name the file of the cloud's authority with --ca", s.server, wrong.Err)
	}
	return err
}
