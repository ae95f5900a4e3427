package compute_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// lostCloud is a server, and the agent of its host h1, which keeps copies of records.
type lostCloud struct {
	*testing.T
	db       *store.DB
	returner *store.Returner
	signer   *ca.Authority
	caller   httpapi.Caller
	records  *onhost.RecordCopies
	doubt    error
	told     []string
}

// id makes an id that is one, and tells in a test which it is.
func id(word string) resource.ID {
	return resource.ID("01920000-0000-7000-8000-" + fmt.Sprintf("%012x", []byte(fmt.Sprintf("%.6s", word+"------"))))
}

func newLostCloud(t *testing.T) *lostCloud {
	authority, err := ca.Open(t.TempDir(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &lostCloud{T: t, signer: authority}
	c.records = &onhost.RecordCopies{Dir: t.TempDir() + "/records", Ask: c.ask}
	c.begin()
	c.put(c.ofTheCloud()...)
	return c
}

// begin is a server with no records.
func (c *lostCloud) begin() {
	c.db = store.NewDB(memory.New(), resource.NewCatalog(compute.VMs, compute.VMSnapshots, compute.Instances, compute.Images, compute.Pools, storage.Attachments,
		storage.Volumes, storage.VolumeSnapshots, storage.Allocations, storage.Backends, storage.Datastores, network.PortBindings, network.Ports, network.Networks, network.Subnets,
		network.SecurityGroups, host.Hosts, host.Removals, placement.Claims, operation.Operations, identity.Projects))
	c.db.Inline = true
	c.records.Known = reconcile.Knowledge{DB: c.db, Current: func() error { return c.doubt }}
	c.returner = compute.NewReturner(store.NewRegistry())
}

func (c *lostCloud) put(records ...resource.Object) {
	c.Helper()
	b := c.db.Begin()
	for _, x := range records {
		c.returner.Return(b, x)
	}
	if err := c.db.Commit(c.Context(), b); err != nil {
		c.Fatal(err)
	}
}

func meta(kind resource.Kind, project, name string) resource.Meta {
	m := resource.Meta{Kind: kind, ID: id(name), Name: name, Generation: 3, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Holders: []string{"compute"}}
	if project != "" {
		m.Project = id(project)
	}
	return m
}

func (c *lostCloud) ofTheCloud() []resource.Object {
	d := &storage.Datastore{Meta: meta("datastore", "", "disks")}
	d.Spec.BackendID = id("folder")
	return []resource.Object{
		&storage.Backend{Meta: meta("storagebackend", "", "folder")}, d,
		&host.Host{Meta: meta("host", "", "h1")}, &host.Host{Meta: meta("host", "", "h2")},
	}
}

// ofAVM is all that is lost with a VM whose project, network and group are lost too.
func (c *lostCloud) ofAVM(name string) []resource.Object {
	project, volume, port := "acme", name+"v", name+"p"
	vm := &compute.VM{Meta: meta("vm", project, name)}
	vm.Spec = compute.VMSpec{CPUs: 2, ImageID: id("image"), SecurityGroupIDs: []resource.ID{id("group")}, PoolID: id("inner"), Power: compute.Running, Description: "#!/bin/sh"}
	vm.Status.HostID, vm.Status.InstanceID = id("h1"), id(name+"i")
	vm.Status.Disks = []compute.DiskStatus{{Name: "disk0", VolumeID: id(volume), Model: compute.VirtioBlk}}
	vm.Status.NICs = []compute.NICStatus{{Name: "nic0", PortID: id(port), Model: compute.VirtioNet}}
	v := &storage.Volume{Meta: meta("volume", project, volume)}
	v.Owner = &resource.Ref{Kind: "vm", Project: id(project), ID: vm.ID}
	v.Spec.DatastoreID = id("disks")
	a := &storage.Allocation{Meta: meta("allocation", project, name+"a")}
	a.Spec = storage.AllocationSpec{VolumeID: v.ID, DatastoreID: id("disks"), BackendID: id("folder"), OwnerHostID: id("h1"), Epoch: 77}
	s := &storage.VolumeSnapshot{Meta: meta("volumesnapshot", project, name+"s")}
	s.Spec.VolumeID = v.ID
	p := &network.Port{Meta: meta("port", project, port)}
	p.Spec.NetworkID, p.Status.SubnetID, p.Status.Address = id("lan"), id("subnet"), "10.0.0."+fmt.Sprint(len(name))
	p.Status.MAC = fmt.Sprintf("52:54:00:00:00:%02x", len(name))
	i := &compute.Instance{Meta: meta("instance", project, name+"i")}
	i.Spec.VMID, i.Spec.HostID, i.Spec.VMName, i.Spec.Epoch = vm.ID, id("h1"), name, 1000
	at := &storage.Attachment{Meta: meta("attachment", project, name+"t")}
	at.Spec.VolumeID, at.Spec.HostID = v.ID, id("h1")
	binding := &network.PortBinding{Meta: meta("portbinding", project, name+"b")}
	binding.Spec.PortID, binding.Spec.HostID = p.ID, id("h1")
	claim := &placement.Claim{Meta: meta("claim", project, name+"c")}
	claim.Spec.Workload, claim.Spec.HostID = vm.Ref(), id("h1")
	return []resource.Object{vm, v, a, s, p, i, at, binding, claim}
}

func (c *lostCloud) ofTheProject() []resource.Object {
	subnet := &network.Subnet{Meta: meta("subnet", "acme", "subnet")}
	subnet.Spec.NetworkID = id("lan")
	inner := &compute.Pool{Meta: meta("resourcepool", "", "inner")}
	inner.Spec.ParentID, inner.Spec.ProjectID = id("outer"), id("acme")
	return []resource.Object{&identity.Project{Meta: meta("project", "", "acme")}, &compute.Pool{Meta: meta("resourcepool", "", "outer")}, inner, &network.Network{Meta: meta("network", "acme", "lan")}, subnet,
		&network.SecurityGroup{Meta: meta("securitygroup", "acme", "group")}, &compute.Image{Meta: meta("image", "acme", "image")}}
}

// call asks the server.
func (c *lostCloud) call(caller httpapi.Caller, method, path string, in any) *httptest.ResponseRecorder {
	c.Helper()
	a := httpapi.New(c.db, httpapi.Options{Authenticate: func(*http.Request) (httpapi.Caller, error) { return caller, nil }})
	httpapi.Register(a, host.Hosts, httpapi.Routes[host.Spec, host.Status]{})
	(&compute.Registrar{Screens: &compute.Screens{DB: c.db, Dial: c.dial}, Returner: c.returner, Signer: c.signer, Events: c}).Register(a)
	body, err := json.Marshal(in)
	if err != nil {
		c.Fatal(err)
	}
	r := httptest.NewRequest(method, path, strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	a.ServeHTTP(answer, r)
	return answer
}

func (c *lostCloud) Record(_ *store.Batch, about resource.Ref, name, _, reason, message, by string, _ ...string) {
	c.told = append(c.told, fmt.Sprintf("%s %s %s: %s (%s)", about.Kind, name, reason, message, by))
}

func (c *lostCloud) operator(method, path string, in any) (int, string) {
	c.Helper()
	answer := c.call(httpapi.Caller{User: "root", Right: httpapi.Admin}, method, path, in)
	return answer.Code, answer.Body.String()
}

// ask is how the agent asks the server.
func (c *lostCloud) ask(_ context.Context, in compute.CopiesRequest) (out compute.CopiesAnswer, err error) {
	answer := c.call(httpapi.Caller{Host: id("h1"), Right: httpapi.AsHost}, "POST", "/v1/agent/record-copies", in)
	if answer.Code != 200 {
		return out, fmt.Errorf("%d %s", answer.Code, answer.Body)
	}
	return out, json.Unmarshal(answer.Body.Bytes(), &out)
}

// dial opens a connection to the agent.
func (c *lostCloud) dial(_ context.Context, hostID resource.ID) (net.Conn, error) {
	if hostID != id("h1") {
		return nil, fmt.Errorf("no route to host")
	}
	streams := &onhost.Streams{Records: c.records, Peer: func(*http.Request) (onhost.Peer, error) { return onhost.Peer{Server: true}, nil }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: streams.Handler()}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	c.Cleanup(func() { server.Close(); wg.Wait() })
	return net.Dial("tcp", l.Addr().String())
}

func (c *lostCloud) keep() {
	c.Helper()
	if err := c.records.Keep(c.Context()); err != nil {
		c.Fatal(err)
	}
}

// whole writes all records of a project down, but for their revisions.
func (c *lostCloud) whole() (out []string) {
	for _, kind := range c.db.Catalog().All() {
		for x := range c.db.Snapshot().OfKind(kind.Kind) {
			x, err := resource.CopyOf(x)
			if err != nil {
				c.Fatal(err)
			}
			x.Head().Revision = 0
			text, err := resource.Encode(x)
			if err != nil {
				c.Fatal(err)
			}
			out = append(out, string(text))
		}
	}
	return out
}

// lose is a restored backup that has nothing of the project.
func (c *lostCloud) lose() {
	c.begin()
	c.doubt = fmt.Errorf("a backup was brought back")
	c.put(c.ofTheCloud()...)
}

// afterALoss is a cloud that has lost two VMs whose records its host keeps; before is what they were.
func afterALoss(t *testing.T) (c *lostCloud, before []string) {
	c = newLostCloud(t)
	c.put(slices.Concat(c.ofTheProject(), c.ofAVM("web"), c.ofAVM("mails"))...)
	c.keep()
	for _, x := range c.whole() {
		if !strings.Contains(x, `"kind":"image"`) { // its content is the servers' and was lost with the record
			before = append(before, x)
		}
	}
	c.lose()
	c.keep()
	return c, before
}

func TestAVMThatABackupLacksIsRegisteredAsItWas(t *testing.T) {
	c, before := afterALoss(t)
	code, text := c.operator("GET", "/v1/hosts/h1/unregistered", nil)
	if code != 200 || strings.Count(text, `"kind":"vm"`) != 2 || !strings.Contains(text, `"name":"web","project":"acme"`) {
		t.Fatalf("unregistered: %d %s", code, text)
	}
	if code, text := c.operator("POST", "/v1/hosts/h1/register", compute.RegisterRequest{Workloads: []string{"web"}}); code != 200 || !strings.Contains(text, `"web"`) {
		t.Fatalf("register: %d %s", code, text)
	}
	if code, text := c.operator("POST", "/v1/hosts/h1/register", compute.RegisterRequest{Workloads: []string{"web"}}); code != 404 || !strings.Contains(text, "virga host unregistered h1") {
		t.Errorf("register again: %d %s", code, text)
	}
	if code, text := c.operator("POST", "/v1/hosts/h1/register", nil); code != 200 || !strings.Contains(text, `"mails"`) {
		t.Fatalf("register the rest: %d %s", code, text)
	}
	if after := c.whole(); !slices.Equal(after, before) {
		t.Errorf("the records are\n%s\nand were\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	if want := "vm web registered: registered by the records that host h1 has kept (root)"; len(c.told) != 2 || c.told[0] != want {
		t.Errorf("told %q", c.told)
	}
	code, text = c.operator("GET", "/v1/hosts/h1/unregistered", nil)
	if code != 200 || !strings.Contains(text, `"items":[]`) {
		t.Errorf("unregistered at the end: %d %s", code, text)
	}
}

func TestARegisteredVMKeepsNothingOfTheOneThatHasItsName(t *testing.T) {
	c, _ := afterALoss(t)
	project := c.ofTheProject()
	other := &compute.VM{Meta: meta("vm", "acme", "web")}
	other.ID = resource.NewID()
	c.put(append(project, other)...)
	if code, text := c.operator("POST", "/v1/hosts/h1/register", compute.RegisterRequest{Workloads: []string{"web"}}); code != 409 || !strings.Contains(text, "there is another vm called web; say --name with another") {
		t.Errorf("a name that is taken: %d %s", code, text)
	}
	if code, text := c.operator("POST", "/v1/hosts/h1/register", compute.RegisterRequest{Name: "old"}); code != 422 || !strings.Contains(text, "say which") {
		t.Errorf("one name for all: %d %s", code, text)
	}
	if code, text := c.operator("POST", "/v1/hosts/h1/register", compute.RegisterRequest{Workloads: []string{string(id("web"))}, Name: "old"}); code != 200 {
		t.Fatalf("another name: %d %s", code, text)
	}
	if vm := store.Find(c.db.Snapshot(), compute.VMs, id("web")); vm == nil || vm.Name != "old" || store.Find(c.db.Snapshot(), compute.VMs, other.ID).Name != "web" {
		t.Errorf("the VM is %+v", vm)
	}
}

func TestRecordsThatTheCloudDidNotGiveOutAreRefused(t *testing.T) {
	c, _ := afterALoss(t)
	kept, err := c.records.Read(id("web"))
	if err != nil {
		t.Fatal(err)
	}
	give := func(change func(*compute.RecordCopy)) (int, string) {
		other := kept
		change(&other)
		c.records.Ask = func(context.Context, compute.CopiesRequest) (compute.CopiesAnswer, error) {
			return compute.CopiesAnswer{Copies: []compute.RecordCopy{other}}, nil
		}
		c.keep()
		return c.operator("POST", "/v1/hosts/h1/register", compute.RegisterRequest{Workloads: []string{string(id("web"))}})
	}
	foreign, err := ca.Open(t.TempDir(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*compute.RecordCopy){
		"changed": func(o *compute.RecordCopy) {
			o.Content = []byte(strings.Replace(string(kept.Content), "#!/bin/sh", "#!/bin/su", 1))
			if string(o.Content) == string(kept.Content) {
				t.Fatal("nothing was changed")
			}
		},
		"of another cloud": func(o *compute.RecordCopy) { o.Signature, _ = foreign.Sign("virga record copy", kept.Content) },
		"of another purpose": func(o *compute.RecordCopy) {
			o.Signature, _ = c.signer.Sign("another purpose", kept.Content)
		},
		"not signed": func(o *compute.RecordCopy) { o.Signature = nil },
	} {
		if code, text := give(change); code != 403 || !strings.Contains(text, "not as this cloud gave them out") {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	if code, text := give(func(*compute.RecordCopy) {}); code != 200 {
		t.Errorf("as they were: %d %s", code, text)
	}
}

func TestAHostIsGivenWhatItHasAndNothingElse(t *testing.T) {
	c := newLostCloud(t)
	web := c.ofAVM("web")
	free := &storage.Volume{Meta: meta("volume", "acme", "free")}
	free.Spec.DatastoreID = id("disks")
	a := &storage.Allocation{Meta: meta("allocation", "acme", "freea")}
	a.Spec = storage.AllocationSpec{VolumeID: free.ID, DatastoreID: id("disks"), BackendID: id("folder"), OwnerHostID: id("h1")}
	away := &compute.VM{Meta: meta("vm", "acme", "away")}
	there := &compute.Instance{Meta: meta("instance", "acme", "awayi")}
	there.Spec.VMID, there.Spec.HostID = away.ID, id("h2")
	c.put(slices.Concat(c.ofTheProject(), web, []resource.Object{free, a, away, there})...)
	first, err := c.ask(t.Context(), compute.CopiesRequest{Digests: map[resource.ID]string{}})
	if err != nil || len(first.Copies) != 2 || !slices.Equal(first.IDs, slices.Sorted(slices.Values([]resource.ID{id("free"), id("web")}))) {
		t.Fatalf("the host is given %v, %v", first.IDs, err)
	}
	have := compute.CopiesRequest{Digests: map[resource.ID]string{}}
	for _, kept := range first.Copies {
		have.Digests[kept.ID] = kept.Digest
		if strings.Contains(string(kept.Content), `"kind":"host"`) || strings.Contains(string(kept.Content), `"kind":"datastore"`) {
			t.Errorf("what is the cloud's goes to a host: %s", kept.Content)
		}
	}
	if again, err := c.ask(t.Context(), have); err != nil || len(again.Copies) != 0 || len(again.IDs) != 2 {
		t.Errorf("nothing has changed, and it is given %+v, %v", again, err)
	}
	l := store.NewRegistry()
	b := c.db.Begin()
	store.Specs(l, storage.VolumeSnapshots, "test").Label(b, store.Find(c.db.Snapshot(), storage.VolumeSnapshots, id("webs")), map[string]string{"a": "b"})
	if err := c.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if again, err := c.ask(t.Context(), have); err != nil || len(again.Copies) != 1 || again.Copies[0].ID != id("web") {
		t.Errorf("a snapshot of web has changed, and it is given %+v, %v", again, err)
	}
	b = c.db.Begin()
	store.Specs(l, compute.Instances, "test").Set(b, store.Find(c.db.Snapshot(), compute.Instances, id("webi")), func(s *compute.InstanceSpec) {
		s.Outgoing = &compute.Outgoing{OperationID: id("move")}
	})
	if err := c.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if again, err := c.ask(t.Context(), have); err != nil || len(again.Copies) != 0 || len(again.IDs) != 2 {
		t.Errorf("a VM that moves keeps the copy that was made before, and is given %+v, %v", again, err)
	}
}

func TestAHostWithManyVolumesAsksUntilItHasAll(t *testing.T) {
	c := newLostCloud(t)
	many := c.ofTheProject()
	for n := range 450 {
		v := &storage.Volume{Meta: meta("volume", "acme", fmt.Sprintf("v%03d", n))}
		v.Spec.DatastoreID = id("disks")
		a := &storage.Allocation{Meta: meta("allocation", "acme", fmt.Sprintf("a%03d", n))}
		a.Spec = storage.AllocationSpec{VolumeID: v.ID, DatastoreID: id("disks"), OwnerHostID: id("h1")}
		many = append(many, v, a)
	}
	c.put(many...)
	c.keep()
	if list, err := c.records.List(); err != nil || len(list) != 450 {
		t.Errorf("the host has %d, %v", len(list), err)
	}
}

func TestCopiesGoWithTheirVMsUnlessThereIsDoubt(t *testing.T) {
	c := newLostCloud(t)
	c.put(slices.Concat(c.ofTheProject(), c.ofAVM("web"))...)
	c.keep()
	c.lose()
	c.keep()
	if list, err := c.records.List(); err != nil || len(list) != 1 || list[0].Name != "web" {
		t.Fatalf("in doubt there are %+v, %v", list, err)
	}
	again := &onhost.RecordCopies{Known: c.records.Known, Dir: c.records.Dir, Ask: c.records.Ask} // the agent has started anew
	c.doubt = nil
	if err := again.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, err := again.List(); err != nil || len(list) != 0 {
		t.Errorf("without doubt there are %+v, %v", list, err)
	}
	if _, err := again.Read(id("web")); err == nil || !strings.Contains(err.Error(), "no records") {
		t.Errorf("what was removed reads: %v", err)
	}
	if _, err := again.Read("../../etc/passwd"); err == nil || !strings.Contains(err.Error(), "is no id") {
		t.Errorf("what is no id reads: %v", err)
	}
}

func TestAskingAHostThatIsAwaySaysSo(t *testing.T) {
	c, _ := afterALoss(t)
	for _, path := range []string{"h2/unregistered", "h2/register"} {
		method := map[bool]string{true: "POST", false: "GET"}[strings.HasSuffix(path, "register")]
		if code, text := c.operator(method, "/v1/hosts/"+path, nil); code != 503 || !strings.Contains(text, "read the records that host h2 has kept: its agent is not reached") {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if answer := c.call(httpapi.Caller{User: "ann", Right: httpapi.Write}, "POST", "/v1/hosts/h1/register", nil); answer.Code != 403 {
		t.Errorf("who does not run the cloud registers: %d %s", answer.Code, answer.Body)
	}
}
