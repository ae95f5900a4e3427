package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute"
	computehost "github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/cgroup"
	"github.com/virga-cloud/virga/compute/onhost/qemu"
	"github.com/virga-cloud/virga/compute/stream"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/remote"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/host"
	hosthost "github.com/virga-cloud/virga/host/onhost"
	"github.com/virga-cloud/virga/host/onhost/probe"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/network"
	networkhost "github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/dns"
	"github.com/virga-cloud/virga/network/onhost/metadata"
	"github.com/virga-cloud/virga/network/onhost/ovs"
	"github.com/virga-cloud/virga/network/ovn"
	storagehost "github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/folder"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
	"github.com/virga-cloud/virga/wiring"
)

// silence is how long the servers may be unreachable until this host stops to conclude anything from
// what its view does not show.
const silence = 5 * time.Second

// agent makes one host look like its records.
type agent struct {
	c       *config
	rotator *ca.Rotator
	trust   *tls.Config // towards servers
	servers *anyServer
	client  *http.Client
	db      *store.DB
	runner  atomic.Pointer[part.Runner] // none until all loops are made; guests may stir before
	guests  *qemu.Driver
	sweeper *computehost.Sweeper
	work    *task.Runner
	figures func(people bool) compute.HostFigures // of the guests here; nil: nobody looks
	records *computehost.RecordCopies
	network *ovs.Switch
	names   *dns.Responder
	facts   *metadata.Responder
	heard   atomic.Int64                       // when a server last answered, in Unix milliseconds
	known   atomic.Pointer[store.Acquaintance] // the life of the records; see hearLife
	over    chan error                         // says that this host was removed from its cloud
	tasks   sync.WaitGroup
}

// startAgent starts everything that an agent does. Issue gets the host's certificate.
func startAgent(ctx context.Context, c *config, l *store.Registry, issue ca.Issue) (*agent, error) {
	a := &agent{c: c, over: make(chan error, 1)}
	if err := a.identify(ctx, issue); err != nil {
		return nil, err
	}
	a.db = store.NewDB(remote.Open(a.client, serverURL("/v1/agent/store")), wiring.Catalog())
	if err := a.wire(l); err != nil {
		return nil, err
	}
	if err := l.Err(); err != nil {
		return nil, fault.New(fault.Internal, "two writers of the same half: %w", err)
	}
	return a, a.begin(ctx)
}

// identify reads who this host is and prepares the way to the servers.
func (a *agent) identify(ctx context.Context, issue ca.Issue) error {
	caPEM, err := os.ReadFile(ca.HostCA(a.c.in("ca")))
	if err != nil {
		return fault.New(fault.Precondition, "read the cloud's certificate: %w; this host has not joined: virga join TOKEN", err)
	}
	pool, err := ca.PoolOf(caPEM)
	if err != nil {
		return err
	}
	if issue == nil {
		issue = a.renew(pool)
	}
	if a.rotator, err = ca.NewRotator(ca.HostFiles(a.c.in("ca")), time.Now, issue, nil); err != nil {
		return err
	}
	a.trust = ca.ClientTLS(a.rotator, pool, ca.ServerName)
	a.servers = newAnyServer(a.c.Servers, a.trust)
	a.client = &http.Client{Timeout: 60 * time.Second, Transport: a.servers.transport()}
	err = a.rotator.Ensure(ctx)
	if err != nil && a.rotator.Leaf() != nil {
		// The servers may be away for long. What runs here is looked after meanwhile; the rotator asks again.
		slog.Warn("this host starts with the certificate that it has", "until", a.rotator.Leaf().NotAfter, "error", err)
		return nil
	}
	return err
}

// renew asks a server for a certificate, also when the last one has run out.
func (a *agent) renew(pool *x509.CertPool) ca.Issue {
	server := func() string { return ca.ServerName }
	way := newAnyServer(a.c.Servers, ca.ClientTLS(nil, pool, ca.ServerName)).transport()
	way.DisableKeepAlives = true
	plain := &http.Client{Timeout: 30 * time.Second, Transport: way}
	return ca.RenewOrRecover(func() *x509.Certificate { return a.rotator.Leaf() }, time.Now,
		func(ctx context.Context, key crypto.Signer) ([]byte, error) {
			return ca.RenewBy(a.client, server)(ctx, key)
		},
		ca.Recover(plain, server, ca.HostFiles(a.c.in("ca"))))
}

// wire makes the parts of an agent, with their drivers.
func (a *agent) wire(l *store.Registry) error {
	groups, why := cgroup.Probe(cgroup.Root)
	slog.Info("control groups", "found", why)
	groups = groups.Slice(a.c.slice())
	var err error
	if a.guests, err = qemu.New(qemu.Config{
		RunDir: a.c.guests(), LogDir: a.c.in("serial"), Binary: a.c.QEMU, Groups: groups, Dial: a.dialTarget,
		Changed: a.stirred,
	}); err != nil {
		return err
	}
	if a.network, err = ovs.New(a.switchConfig()); err != nil {
		return err
	}
	a.names, a.facts = dns.New(nil), metadata.New(a.guest)
	self := hosthost.Self{HostID: a.c.HostID, Address: a.address(), TunnelAddress: a.c.Address, Version: version, Here: a.here, Addresses: ownAddresses}
	if a.c.Server == "yes" {
		self.APIAddress = a.c.Servers[0] // its own
	}
	cloud := wiring.NewHost(wiring.HostDeps{
		DB: a.db, Registry: l, Hardware: probe.ThisHost(a.c.QEMU, a.c.state), Hypervisor: a.guests,
		Self: self, Processors: groups, Memory: probe.Memory{}, MemoryGroups: groups,
		Switch: a.network, Responders: []networkhost.Responder{a.names, a.facts},
		Storage: storagehost.Options{Drivers: folder.Drivers(qcow2.Tool{}), Fetch: a.fetch, Below: a.c.state},
		Current: a.current, Logs: a.guests, Gone: a.gone, RecordsIn: a.c.in("records"), Copies: a.copies, Converter: a.converter(), Programs: a.programs(),
	})
	a.sweeper, a.work, a.figures, a.records = cloud.Sweeper, cloud.Tasks, cloud.Figures, cloud.Records
	a.runner.Store(part.NewRunner(a.db, cloud.Parts...))
	return nil
}

// stirred looks at a guest to which something has happened.
func (a *agent) stirred(id resource.ID) {
	if r := a.runner.Load(); r != nil {
		r.Wake(compute.Instances.Kind, id)
	}
}

// here is told in the log too: a host that has lost its address may not reach the server.
func (a *agent) here() error {
	err := a.c.here()
	if err != nil {
		slog.Error("this host has lost its address", "error", err)
	}
	return err
}

func (a *agent) address() string { return net.JoinHostPort(a.c.Address, strconv.Itoa(a.c.AgentPort)) }

func (a *agent) switchConfig() ovs.Config {
	c := ovs.Config{
		State: a.c.state, Run: a.c.run, HostID: a.c.HostID, Hostname: a.c.Name, Remote: a.c.OVNRemote, TunnelAddress: a.c.Address,
		Uplink: a.c.Uplink, Outside: network.OutsideGateway + "/16", OutsideMAC: network.OutsideGatewayMAC, ExternalNetwork: ovn.ExternalNetwork,
	}
	if c.Remote == "" {
		c.Remote = "unix:" + filepath.Join(a.c.run, "ovn", "sb.sock")
	} else {
		files := ca.HostFiles(a.c.in("ca"))
		c.TLS = &ovs.TLS{Key: files + ".key", Certificate: files + ".crt", CA: ca.HostCA(a.c.in("ca"))}
	}
	return c
}

// begin lets everything run.
func (a *agent) begin(ctx context.Context) error {
	listener, err := net.Listen("tcp", a.address())
	if err != nil {
		return fault.New(fault.Precondition, "the agent listens on %s: %w; choose another by --address or --agent-port", a.address(), err)
	}
	a.serve(ctx, listener)
	a.tasks.Go(func() { a.rotator.Run(ctx) })
	a.tasks.Go(func() { hosthost.Heartbeat(ctx, a.beat) })
	a.tasks.Go(func() { _ = a.db.Run(ctx) })
	a.tasks.Go(func() { a.runSwitch(ctx) })
	a.tasks.Go(func() { a.c.keepLogsSmall(ctx) })
	a.tasks.Go(func() { a.runner.Load().Run(ctx) })
	return nil
}

// runSwitch starts or adopts the virtual switch, before any record is here: the way to the servers
// may lead through it. A host whose switch cannot start yet still reports, and its port bindings say what
// they wait for.
func (a *agent) runSwitch(ctx context.Context) {
	for {
		err := a.network.Setup(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return // there may be no connection to run on
		}
		slog.Error("the virtual switch does not start; trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
	a.network.Run(ctx)
}

func (a *agent) beat(ctx context.Context) error {
	answer, err := a.post(ctx, "/v1/agent/heartbeat", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		if failing(answer.StatusCode) {
			a.servers.leave()
		}
		return a.unwelcome(answer)
	}
	a.hearLife(answer.Header)
	a.heard.Store(time.Now().UnixMilli())
	return nil
}

// post tells or asks a server something; body may be nil.
func (a *agent) post(ctx context.Context, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, serverURL(path), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return a.client.Do(request)
}

// current says why nothing may be concluded now from what the view does not show.
func (a *agent) current() error {
	if since := time.Since(time.UnixMilli(a.heard.Load())); since >= silence {
		return fault.New(fault.Unavailable, "no server has answered this host for %s, and it removes nothing until one does", silence)
	}
	if known := a.known.Load(); known != nil {
		return known.Doubt()
	}
	return nil
}

// guest tells the metadata service what a VM may know of itself.
func (a *agent) guest(id resource.ID) (metadata.Guest, bool) {
	s := a.db.Snapshot()
	i := store.Find(s, compute.Instances, id)
	if i == nil {
		return metadata.Guest{}, false
	}
	zone := ""
	if h := host.Find(s, a.c.HostID); h != nil {
		zone = h.Spec.Zone
	}
	var nics []metadata.NIC
	for _, n := range i.Spec.NICs {
		if p := store.Find(s, network.PortBindings, n.PortBindingID); p != nil {
			if address, err := netip.ParseAddr(p.Spec.Address); err == nil {
				nics = append(nics, metadata.NIC{MAC: p.Spec.MAC, Address: netip.PrefixFrom(address, int(p.Spec.PrefixLength))})
			}
		}
	}
	return metadata.Guest{
		InstanceID: i.Spec.VMID, Hostname: i.Spec.Hostname, Zone: zone, Project: string(i.Project), SSHKeys: i.Spec.SSHKeys, UserData: i.Spec.UserData,
		Type: fmt.Sprintf("c%d.m%d", i.Spec.CPUs, i.Spec.MemoryMiB), NICs: nics,
	}, true
}

// fetch gets an image's content from a server.
func (a *agent) fetch(ctx context.Context, digest string) (io.ReadCloser, int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, serverURL("/v1/agent/blobs/"+url.PathEscape(digest)), nil)
	if err != nil {
		return nil, 0, err
	}
	long := *a.client
	long.Timeout = 0
	answer, err := long.Do(request)
	if err != nil {
		return nil, 0, fault.New(fault.Unavailable, "fetch image %s: %w", digest, err)
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, 0, fault.New(fault.Unavailable, "fetch image %s: the server answered %s", digest, answer.Status)
	}
	return answer.Body, answer.ContentLength, nil
}

// gone asks a server which VMs were deleted.
func (a *agent) gone(ctx context.Context, vms []resource.ID) ([]resource.ID, error) {
	var out compute.GoneAnswer
	err := a.ask(ctx, "/v1/agent/gone-vms", compute.GoneRequest{VMIDs: vms}, &out)
	return out.GoneIDs, err
}

// copies asks a server which copies of records this host is to keep.
func (a *agent) copies(ctx context.Context, have compute.CopiesRequest) (out compute.CopiesAnswer, err error) {
	err = a.ask(ctx, "/v1/agent/record-copies", have, &out)
	return out, err
}

// ask asks a server for JSON.
func (a *agent) ask(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := a.post(ctx, path, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New("the server answered " + answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(out)
}

// dialTarget opens the way for a VM's memory to the agent of its target.
func (a *agent) dialTarget(ctx context.Context, to compute.Outgoing) (net.Conn, error) {
	if err := host.Refused(a.db.Snapshot(), to.HostID); err != nil {
		return nil, err
	}
	target := a.trust.Clone()
	target.ServerName = ca.HostName(to.HostID)
	d := tls.Dialer{Config: target, NetDialer: &net.Dialer{Control: shortQueue}}
	conn, err := stream.Open(ctx, func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", to.Address) },
		"/instances/"+string(to.InstanceID)+"/memory?token="+url.QueryEscape(to.Token))
	if err != nil {
		return nil, err
	}
	return stream.Packed(conn), nil
}

// shortQueue bounds what waits in the kernel to be sent. A source that believes its memory gone
// while megabytes of it queue stops its guest too early, and for as long as they take.
func shortQueue(_, _ string, c syscall.RawConn) error {
	var err error
	controlled := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 128<<10)
	})
	return errors.Join(controlled, err)
}

// serve answers servers and other hosts; nobody else has a certificate.
// reach opens a connection to a TCP port of a guest here, in its first network.
func (a *agent) reach(ctx context.Context, i *compute.Instance, port uint16) (net.Conn, error) {
	snap := a.db.Snapshot()
	for _, nic := range i.Spec.NICs {
		b := store.Find(snap, network.PortBindings, nic.PortBindingID)
		if b == nil {
			continue
		}
		for _, zone := range store.Referring(snap, network.DNSZones, b.Spec.NetworkID) {
			return a.network.Dial(ctx, zone.ID, net.JoinHostPort(b.Spec.Address, strconv.Itoa(int(port))))
		}
	}
	return nil, fault.New(fault.NotFound, "VM %s has no NIC whose network is set up on its host; see virga explain vm %s", i.Spec.VMName, i.Spec.VMName)
}

func (a *agent) serve(ctx context.Context, l net.Listener) {
	secure := ca.ServerTLS(a.rotator, a.trust.RootCAs)
	secure.ClientAuth = tls.RequireAndVerifyClientCert
	streams := &computehost.Streams{
		Hypervisor: a.guests, Peer: a.peer, Progress: a.work.Progress, Figures: a.figures, Records: a.records,
		Find:  func(id resource.ID) *compute.Instance { return store.Find(a.db.Snapshot(), compute.Instances, id) },
		Reach: a.reach,
	}
	server := &http.Server{
		Handler: streams.Handler(), TLSConfig: secure, ReadHeaderTimeout: 10 * time.Second, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	a.tasks.Go(func() {
		if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("the agent stopped answering", "error", err)
		}
	})
	context.AfterFunc(ctx, func() { server.Close() })
}

// peer reads who asks from the verified certificate. A host that was removed has one still.
func (a *agent) peer(r *http.Request) (computehost.Peer, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return computehost.Peer{}, fault.New(fault.Unauthenticated, "show a certificate of this cloud")
	}
	leaf := r.TLS.PeerCertificates[0]
	if id, ok := ca.HostID(leaf); ok {
		return computehost.Peer{Host: id}, host.Refused(a.db.Snapshot(), id)
	}
	return computehost.Peer{Server: slices.Contains(leaf.DNSNames, ca.ServerName)}, nil
}

// close waits for everything. Guests and switches go on. Ctx has ended.
func (a *agent) close() {
	a.tasks.Wait()
	a.names.Close()
	a.facts.Close()
	a.guests.Close()
	a.network.Close()
}
