package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/network/ovn"
)

// admitHosts lets further hosts reach the southbound database, as long as they are hosts of this cloud.
// It does not depend on who leads: hosts come back to where they were.
func (s *server) admitHosts(ctx context.Context) {
	address := s.overlay()
	if address == "" {
		return
	}
	secure := ca.ServerTLS(s.rotator, s.authority.Pool())
	secure.ClientAuth, secure.MinVersion = tls.RequireAndVerifyClientCert, tls.VersionTLS12 // OVN's programs speak no newer one
	s.south.Gate = &ovn.Gate{TLS: secure, Dial: s.central.DialAs, Host: s.hostOf}
	s.tasks.Go(func() {
		for ctx.Err() == nil {
			l, err := net.Listen("tcp", address)
			if err == nil {
				err = s.south.Gate.Serve(ctx, l)
			}
			if err == nil {
				return
			}
			slog.Error("hosts cannot reach the virtual network's database; trying again", "address", address, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Second):
			}
		}
	})
}

// hostOf is the host that a certificate names, unless it was removed.
func (s *server) hostOf(leaf *x509.Certificate) (resource.ID, error) {
	id, is := ca.HostID(leaf)
	if !is {
		return "", fault.New(fault.Denied, "only hosts come in to the southbound database")
	}
	return id, host.Refused(s.db.Snapshot(), id)
}
