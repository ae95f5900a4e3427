package compute_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// office is the API of VMs and of what they are made of, over an empty cloud with one host.
type office struct {
	*testing.T
	db       *store.DB
	api      http.Handler
	statuses *store.StatusWriter[compute.VMSpec, compute.VMStatus]
	rights   *store.Registry
}

func newOffice(t *testing.T) *office {
	db := store.NewDB(memory.New(), resource.NewCatalog(compute.VMs, compute.VMSnapshots, storage.VolumeSnapshots, compute.Instances, compute.Images, storage.Volumes, storage.Allocations, storage.Attachments, storage.Datastores,
		storage.Backends, storage.Devices, storage.ImageCopies, network.Networks, network.Subnets, network.Ports, network.PortBindings, network.DNSZones, network.SecurityGroups,
		host.Hosts, host.Livenesses, placement.Claims, operation.Operations))
	db.Inline = true
	l := store.NewRegistry()
	hosts, datastores := store.Specs(l, host.Hosts, "test"), store.Specs(l, storage.Datastores, "test")
	networks := network.APIRights{Networks: store.Specs(l, network.Networks, "api"), Subnets: store.Specs(l, network.Subnets, "api"), Ports: store.Specs(l, network.Ports, "api")}
	o := &office{T: t, db: db, statuses: store.Statuses(l, compute.VMs, "compute"), rights: l}
	f := &compute.Front{VMs: store.Specs(l, compute.VMs, "api"), Volumes: store.Specs(l, storage.Volumes, "api"), Ports: networks.Ports, VMStatuses: o.statuses,
		VMSnapshots: store.Specs(l, compute.VMSnapshots, "api"), Snapshots: store.Specs(l, storage.VolumeSnapshots, "api"),
		Operations: store.Specs(l, operation.Operations, "api"), Placer: placement.NewGate(db, store.Specs(l, placement.Claims, "placement"))}
	api := httpapi.New(db, httpapi.Options{Authenticate: func(*http.Request) (httpapi.Caller, error) {
		return httpapi.Caller{User: "root", Right: httpapi.Admin}, nil
	}})
	f.Register(api)
	network.Register(api, networks)
	storage.Register(api, storage.APIRights{Backends: store.Specs(l, storage.Backends, "api"), Datastores: datastores, Volumes: f.Volumes, VolumeSnapshots: f.Snapshots})
	o.api = api
	b := db.Begin()
	hosts.Create(b, host.New("h1", "h1"))
	n := &network.Network{Meta: resource.Meta{ID: resource.NewID(), Name: network.DefaultNetwork, Project: "p"}}
	n.Spec.Default()
	networks.Networks.Create(b, n)
	s := &network.Subnet{Meta: resource.Meta{Name: "default", Project: "p"}, Spec: network.SubnetSpec{NetworkID: n.ID, CIDR: "10.1.0.0/24"}}
	s.Spec.Default()
	networks.Subnets.Create(b, s)
	datastores.Create(b, &storage.Datastore{Meta: resource.Meta{Name: "fast"}})
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return o
}

// ask makes a request, wants its status, and reads its answer into out.
func (o *office) ask(status int, method, path, body string, out any) string {
	o.Helper()
	r := httptest.NewRequest(method, "/v1/projects/p/"+path, strings.NewReader(body))
	w := httptest.NewRecorder()
	o.api.ServeHTTP(w, r)
	if w.Code != status {
		o.Fatalf("%s %s %s: %d %s", method, path, body, w.Code, w.Body)
	}
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			o.Fatal(err)
		}
	}
	return w.Body.String()
}

func (o *office) status(name string, change func(*compute.VMStatus)) {
	o.Helper()
	b := o.db.Begin()
	o.statuses.Set(b, store.Named(o.db.Snapshot(), compute.VMs, "p", name), change)
	if err := o.db.Commit(o.Context(), b); err != nil {
		o.Fatal(err)
	}
}

func spec(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

const aVM = `{"name":"web","spec":{"power":"stopped","disks":[{"sizeMiB":64},{"volumeID":"data"},{"sizeMiB":8,"datastoreID":"fast","name":"scratch"}],"nics":[{},{"portID":"door"},{"networkID":"default","address":"10.1.0.77"}]}}`

func withParts(t *testing.T) *office {
	o := newOffice(t)
	o.ask(201, "POST", "volumes", `{"name":"data","spec":{"sizeMiB":32}}`, nil)
	o.ask(201, "POST", "ports", `{"name":"door","spec":{"networkID":"default"}}`, nil)
	return o
}

func TestAVMIsReadAsItWasCreatedAndCanBeSentAgain(t *testing.T) {
	o := withParts(t)
	var vm, again, twin compute.VM
	o.ask(201, "POST", "vms", aVM, &vm)
	data, door := store.Named(o.db.Snapshot(), storage.Volumes, "p", "data"), store.Named(o.db.Snapshot(), network.Ports, "p", "door")
	fast, lan := store.Named(o.db.Snapshot(), storage.Datastores, "", "fast"), store.Named(o.db.Snapshot(), network.Networks, "p", "default")
	disks := []compute.Disk{{Name: "disk0", SizeMiB: 64, Model: "virtio-blk", IOProfile: "default"}, {Name: "disk1", VolumeID: data.ID, Model: "virtio-blk", IOProfile: "default"},
		{Name: "scratch", SizeMiB: 8, DatastoreID: fast.ID, Model: "virtio-blk", IOProfile: "default"}}
	nics := []compute.NIC{{Name: "nic0", NetworkID: lan.ID, Model: "virtio-net", IOProfile: "default"}, {Name: "nic1", PortID: door.ID, Model: "virtio-net", IOProfile: "default"},
		{Name: "nic2", NetworkID: lan.ID, Address: "10.1.0.77", Model: "virtio-net", IOProfile: "default"}}
	if spec(vm.Spec.Disks) != spec(disks) || spec(vm.Spec.NICs) != spec(nics) {
		t.Errorf("read %s\n%s", spec(vm.Spec.Disks), spec(vm.Spec.NICs))
	}
	if len(vm.Status.Disks) != 3 || vm.Status.Disks[1].VolumeID != data.ID || len(vm.Status.NICs) != 3 || vm.Status.NICs[1].PortID != door.ID || vm.Status.UID == 0 {
		t.Errorf("it has %+v", vm.Status)
	}
	read := o.ask(200, "GET", "vms/web", "", nil)
	for _, method := range []string{"PUT", "PATCH"} {
		if o.ask(200, method, "vms/web", read, &again); again.Revision != vm.Revision {
			t.Errorf("%s of what was read changed it: %s", method, spec(again))
		}
	}
	// A twin from what was read, without what the first one has for itself.
	plain := vm
	plain.Name, plain.Spec.Disks, plain.Spec.NICs = "twin", []compute.Disk{disks[0], disks[2]}, nics[:1]
	o.ask(201, "POST", "vms", spec(plain), &twin)
	if spec(twin.Spec) != spec(plain.Spec) || twin.Status.Disks[0].VolumeID == vm.Status.Disks[0].VolumeID || twin.Status.UID == vm.Status.UID {
		t.Errorf("the twin is %s", spec(twin))
	}
	o.ask(409, "POST", "vms", strings.Replace(read, `"name":"web"`, `"name":"third"`, 1), nil) // the volume and the port are in use
}

func TestPlatformsChoicesOfAPortAreInItsStatusAndMayBeWrittenDown(t *testing.T) {
	o := newOffice(t)
	var p, again network.Port
	o.ask(201, "POST", "ports", `{"name":"a","spec":{"networkID":"default"}}`, &p)
	if p.Spec.MAC+p.Spec.Address+string(p.Spec.SubnetID) != "" || p.Status.MAC == "" || p.Status.Address == "" || p.Status.SubnetID == "" {
		t.Errorf("%s", spec(p))
	}
	if o.ask(200, "PATCH", "ports/a", spec(p), &again); again.Revision != p.Revision {
		t.Errorf("what was read changed it: %s", spec(again))
	}
	o.ask(200, "PATCH", "ports/a", fmt.Sprintf(`{"spec":{"address":%q,"mac":%q,"subnetID":"default"}}`, p.Status.Address, p.Status.MAC), &again)
	if again.Spec.Address != p.Status.Address || again.Status.Address != p.Status.Address {
		t.Errorf("%s", spec(again))
	}
	other := "10.1.0.99"
	if p.Status.Address == other {
		other = "10.1.0.98"
	}
	o.ask(422, "PATCH", "ports/a", fmt.Sprintf(`{"spec":{"address":%q}}`, other), nil)
}

func TestDisksAndNICsAreAttachedAndDetachedByTheSpec(t *testing.T) {
	o := withParts(t)
	var vm, after compute.VM
	o.ask(201, "POST", "vms", `{"name":"web","spec":{"power":"stopped","disks":[{"sizeMiB":64}],"nics":[{}]}}`, &vm)
	change := func(status int, disks []compute.Disk, nics []compute.NIC) string {
		t.Helper()
		body := spec(map[string]any{"spec": map[string]any{"disks": disks, "nics": nics}})
		if status != 200 {
			return o.ask(status, "PATCH", "vms/web", body, nil)
		}
		after = compute.VM{}
		return o.ask(200, "PATCH", "vms/web", body, &after)
	}
	change(200, append(vm.Spec.Disks, compute.Disk{VolumeID: "data"}, compute.Disk{SizeMiB: 16}), append(vm.Spec.NICs, compute.NIC{PortID: "door"}, compute.NIC{}))
	names := func() (out []string) {
		for _, d := range after.Status.Disks {
			out = append(out, d.Name+"="+store.Find(o.db.Snapshot(), storage.Volumes, d.VolumeID).Name)
		}
		for _, n := range after.Status.NICs {
			out = append(out, n.Name+"="+store.Find(o.db.Snapshot(), network.Ports, n.PortID).Name)
		}
		return out
	}
	if got := strings.Join(names(), " "); got != "disk0=web-disk0 disk1=data disk2=web-disk2 nic0=web-nic0 nic1=door nic2=web-nic2" {
		t.Fatalf("it has %s", got)
	}
	if p := store.Named(o.db.Snapshot(), network.Ports, "p", "door"); p.Spec.Hostname != "web" {
		t.Errorf("the port has the name %q", p.Spec.Hostname)
	}
	attached := after
	o.ask(409, "DELETE", "volumes/data", "", nil)
	o.ask(409, "POST", "vms", `{"name":"thief","spec":{"power":"stopped","disks":[{"volumeID":"data"}],"nics":[]}}`, nil)
	// What is not known, is used, or is another under the same name, is refused and changes nothing.
	for _, wrong := range [][]compute.Disk{
		append(attached.Spec.Disks[:3:3], compute.Disk{VolumeID: "nowhere"}), append(attached.Spec.Disks[:3:3], compute.Disk{VolumeID: "data", Name: "x"}),
		append(attached.Spec.Disks[:3:3], compute.Disk{}), {{Name: "disk0", VolumeID: "data"}}, {{Name: "disk0", SizeMiB: 1}}, {{Name: "Disk", SizeMiB: 9}},
	} {
		body := spec(map[string]any{"spec": map[string]any{"disks": wrong}})
		r := httptest.NewRecorder()
		o.api.ServeHTTP(r, httptest.NewRequest("PATCH", "/v1/projects/p/vms/web", bytes.NewReader([]byte(body))))
		if r.Code < 400 || r.Code >= 500 {
			t.Errorf("%s: %d %s", body, r.Code, r.Body)
		}
	}
	// A VM that runs keeps the disk that it was booted from, but that grows.
	o.status("web", func(s *compute.VMStatus) { s.InstanceID = "i" })
	if text := change(409, attached.Spec.Disks[1:], attached.Spec.NICs); !strings.Contains(text, "booted from; stop it first: virga vm stop web") {
		t.Errorf("%s", text)
	}
	cold := append(attached.Spec.Disks[:3:3], compute.Disk{Name: "old", SizeMiB: 16, Model: compute.SATA})
	if text := change(409, cold, attached.Spec.NICs); !strings.Contains(text, "disk old: one of model sata neither comes nor goes while the VM runs") {
		t.Errorf("%s", text)
	}
	grown := append([]compute.Disk{}, attached.Spec.Disks...)
	grown[0].SizeMiB = 128
	change(200, grown, attached.Spec.NICs)
	if v := store.Named(o.db.Snapshot(), storage.Volumes, "p", "web-disk0"); v.Spec.SizeMiB != 128 {
		t.Errorf("the volume has %d MiB", v.Spec.SizeMiB)
	}
	grown[1].Limits.Total.IOPS = 500
	if change(200, grown, attached.Spec.NICs); after.Spec.Disks[1].Limits.Total.IOPS != 500 {
		t.Errorf("the limits are %+v", after.Spec.Disks[1])
	}
	grown[1].Limits.Read.IOPS = 1
	if text := change(422, grown, attached.Spec.NICs); !strings.Contains(text, "in total, or reads and writes apart, not both") {
		t.Errorf("%s", text)
	}
	grown[1].Limits = compute.DiskLimits{}
	// Detached, a volume stays, also one that was made for the VM; a port that was made for it goes.
	change(200, grown[:1], attached.Spec.NICs[:1])
	if got := strings.Join(names(), " "); got != "disk0=web-disk0 nic0=web-nic0" {
		t.Errorf("then it has %s", got)
	}
	snap := o.db.Snapshot()
	if v := store.Named(snap, storage.Volumes, "p", "web-disk2"); v == nil || v.Owner != nil {
		t.Errorf("the detached volume is %s", spec(v))
	}
	if p := store.Named(snap, network.Ports, "p", "web-nic2"); p == nil || p.Deleting == nil {
		t.Errorf("the detached NIC's own port is %s", spec(p))
	}
	if p := store.Named(snap, network.Ports, "p", "door"); p.Spec.Hostname != "" || p.Deleting != nil {
		t.Errorf("the detached port is %s", spec(p))
	}
	o.ask(201, "POST", "vms", `{"name":"heir","spec":{"power":"stopped","disks":[{"volumeID":"data"},{"volumeID":"web-disk2"}],"nics":[{"portID":"door"}]}}`, nil)
}

func TestWhatIsCalledAfterAVMFollowsItsName(t *testing.T) {
	o := withParts(t)
	var vm compute.VM
	o.ask(201, "POST", "vms", aVM, &vm)
	o.ask(200, "PATCH", "vms/web", `{"name":"www"}`, &vm)
	for _, path := range []string{"volumes/www-disk0", "volumes/www-scratch", "volumes/data", "ports/www-nic0", "ports/door"} {
		o.ask(200, "GET", path, "", nil)
	}
	for _, p := range store.Every(o.db.Snapshot(), network.Ports) {
		if p.Spec.Hostname != "www" {
			t.Errorf("port %s has the name %q", p.Name, p.Spec.Hostname)
		}
	}
	// A host name of its own stays when the VM is renamed, and can be changed.
	o.ask(200, "PATCH", "vms/www", `{"spec":{"hostname":"shop"}}`, nil)
	o.ask(200, "PATCH", "vms/www", `{"name":"x"}`, nil)
	for _, p := range store.Every(o.db.Snapshot(), network.Ports) {
		if p.Spec.Hostname != "shop" {
			t.Errorf("port %s has the name %q", p.Name, p.Spec.Hostname)
		}
	}
	o.ask(200, "PATCH", "vms/x", `{"spec":{"hostname":""}}`, nil)
	if p := store.Named(o.db.Snapshot(), network.Ports, "p", "door"); p.Spec.Hostname != "x" {
		t.Errorf("port door has the name %q", p.Spec.Hostname)
	}
	o.ask(201, "POST", "vms", `{"name":"web","spec":{"power":"stopped","disks":[{"sizeMiB":64}]}}`, nil) // nothing of the old name is taken
	if text := o.ask(409, "PATCH", "vms/web", `{"name":"x"}`, nil); !strings.Contains(text, "is there already") {
		t.Error(text)
	}
}

func TestPowerThatARequestNamesStartsAVMWhoseGuestPoweredItselfOff(t *testing.T) {
	o := newOffice(t)
	var vm, after compute.VM
	o.ask(201, "POST", "vms", `{"name":"web","spec":{"disks":[{"sizeMiB":64}]}}`, &vm)
	o.status("web", func(s *compute.VMStatus) {
		s.Boot, s.EndedBoot, s.Phase, s.EndedWhy = 1, 1, compute.PhaseStopped, "powered-off"
	})
	if o.ask(200, "PATCH", "vms/web", `{"labels":{"a":"b"},"spec":{"description":"x"}}`, &after); compute.Boot(&after) != 1 {
		t.Error("a request that does not speak of power starts it")
	}
	if o.ask(200, "PATCH", "vms/web", `{"spec":{"power":"running"}}`, &after); compute.Boot(&after) != 2 {
		t.Errorf("it is not started: %s", spec(after))
	}
	generation := after.Generation
	if o.ask(200, "PATCH", "vms/web", `{"spec":{"power":"running"}}`, &after); compute.Boot(&after) != 2 || after.Generation != generation {
		t.Errorf("asked again it is started twice: %s", spec(after))
	}
	if o.ask(200, "PATCH", "vms/web", `{"spec":{"power":"stopped"}}`, &after); after.Spec.Power != compute.Stopped {
		t.Errorf("%s", spec(after))
	}
}
