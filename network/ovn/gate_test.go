package ovn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// cloudCA is the cloud's authority as far as the gate sees it: certificates whose names are hosts.
func cloudCA(t *testing.T) *names {
	t.Helper()
	n, err := openNames(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

type gated struct {
	t       *testing.T
	cloud   *names
	central *Central
	gate    *Gate
	address string
	removed atomic.Value // of resource.ID
}

func startGate(t *testing.T) *gated {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gated{t: t, cloud: cloudCA(t), address: l.Addr().String()}
	g.removed.Store(resource.ID(""))
	g.central = startCentral(t, CentralConfig{Listen: g.address})
	server, err := g.cloud.of("server")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(g.cloud.cert)
	g.gate = &Gate{Dial: g.central.DialAs, TLS: &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool},
		Host: func(c *x509.Certificate) (resource.ID, error) {
			id := resource.ID(c.Subject.CommonName)
			if id == g.removed.Load() {
				return id, fault.New(fault.TooLate, "host %s was removed", id)
			}
			return id, nil
		}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.gate.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return g
}

// come is a host at the gate.
func (g *gated) come(certificates ...tls.Certificate) *tls.Conn {
	g.t.Helper()
	conn, err := tls.Dial("tcp", g.address, &tls.Config{InsecureSkipVerify: true, Certificates: certificates}) // who the server is, is not the question here
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func (g *gated) host(id resource.ID) *tls.Conn {
	g.t.Helper()
	cert, err := g.cloud.of(id)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.come(cert)
}

// transact gives the database's answer to operations, as text.
func transact(conn net.Conn, operations ...string) string {
	_, _ = fmt.Fprintf(conn, `{"id":7,"method":"transact","params":["OVN_Southbound",%s]}`, strings.Join(operations, ","))
	for d := json.NewDecoder(conn); ; {
		var m struct {
			ID     any             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := d.Decode(&m); err != nil {
			return err.Error()
		}
		if m.ID == float64(7) {
			return string(m.Result) + string(m.Error)
		}
	}
}

const insertChassis = `{"op":"insert","table":"Encap","row":{"chassis_name":"%[1]s","type":"geneve","ip":"%[2]s"},"uuid-name":"e"},` +
	`{"op":"insert","table":"Chassis","row":{"name":"%[1]s","hostname":"x","encaps":["named-uuid","e"]}}`

// settle writes a host's chassis, when ovn-northd has brought the roles.
func settle(conn net.Conn, name, address string) (got string) {
	for range 100 {
		if got = transact(conn, fmt.Sprintf(insertChassis, name, address)); strings.Contains(got, "uuid") || strings.Contains(got, "constraint") {
			return got
		}
		time.Sleep(50 * time.Millisecond)
	}
	return got
}

func TestAHostWritesItsOwnChassisAndNoOther(t *testing.T) {
	g := startGate(t)
	one, two := g.host("one"), g.host("two")
	if got := settle(one, "one", "192.0.2.1"); !strings.Contains(got, "uuid") || strings.Contains(got, "error") {
		t.Fatalf("its own chassis: %s", got)
	}
	for what, ops := range map[string]string{
		"another's chassis":       fmt.Sprintf(insertChassis, "three", "192.0.2.3"),
		"the rename of a chassis": `{"op":"update","table":"Chassis","where":[["name","==","one"]],"row":{"hostname":"mine"}}`,
		"the end of a chassis":    `{"op":"delete","table":"Chassis","where":[["name","==","one"]]}`,
		"where it listens":        `{"op":"insert","table":"Connection","row":{"target":"ptcp:9999"}}`,
		"what the network is":     `{"op":"insert","table":"Datapath_Binding","row":{"tunnel_key":77}}`,
		"the rights themselves":   `{"op":"delete","table":"RBAC_Role","where":[]}`,
	} {
		if got := transact(two, ops); !strings.Contains(got, "permission error") {
			t.Errorf("%s by another host: %s", what, got)
		}
	}
}

func TestARemovedHostIsShutOutAtOnce(t *testing.T) {
	g := startGate(t)
	one, two := g.host("one"), g.host("two")
	if !asks(two) {
		t.Fatal("a host is not let in")
	}
	if got := settle(one, "one", "192.0.2.1"); !strings.Contains(got, "uuid") || strings.Contains(got, "error") {
		t.Fatal(got)
	}
	if got := settle(g.host("anew"), "anew", "192.0.2.1"); !strings.Contains(got, "constraint violation") {
		t.Fatalf("two hosts have one address: %s", got)
	}
	south := NewSouthbound(g.central.South())
	defer south.Close()
	south.Gate = g.gate
	g.removed.Store(resource.ID("one"))
	if err := south.RemoveChassis(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Read(make([]byte, 1)); err == nil {
		t.Error("what the host had open is open still")
	}
	if asks(g.host("one")) {
		t.Error("it was let in again")
	}
	if !asks(two) {
		t.Error("another was cut off, too")
	}
	if got := settle(g.host("anew"), "anew", "192.0.2.1"); !strings.Contains(got, "uuid") || strings.Contains(got, "error") {
		t.Errorf("the host that joins at its address: %s", got)
	}
}

func TestNobodyComesInWithoutACertificateOfTheCloud(t *testing.T) {
	g := startGate(t)
	other, err := cloudCA(t).of("one")
	if err != nil {
		t.Fatal(err)
	}
	if asks(g.come()) || asks(g.come(other)) {
		t.Error("a stranger was let in")
	}
	// Nor past the gate: behind it only its own names are known.
	theirs, err := g.cloud.of("one")
	if err != nil {
		t.Fatal(err)
	}
	for _, certificates := range [][]tls.Certificate{nil, {theirs}} {
		conn, err := tls.Dial("tcp", g.central.inner(), &tls.Config{InsecureSkipVerify: true, Certificates: certificates})
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if asks(conn) {
				t.Error("a stranger came in behind the gate")
			}
			conn.Close()
		}
	}
}

func TestTheNamesOfHostsAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	a, err := openNames(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := openNames(dir)
	if err != nil || !a.cert.Equal(b.cert) {
		t.Fatalf("%v", err)
	}
}
