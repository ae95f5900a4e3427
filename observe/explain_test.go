package observe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/store/storetest"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/storage"
)

// cloud is a set of records that a test wrote by hand.
type cloud struct {
	*testing.T
	db  *store.DB
	now time.Time
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{T: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	c.db = store.NewDB(memory.New(), resource.NewCatalog(compute.VMs, compute.Instances, compute.Images, storage.Volumes, storage.Allocations,
		storage.ImageCopies, storage.Attachments, storage.Datastores, storage.Backends, storage.Devices, network.Networks, network.Subnets,
		network.Ports, network.PortBindings, host.Hosts, host.Livenesses, placement.Claims, operation.Operations, task.Tasks, observe.Events))
	c.db.Now, c.db.Inline = func() time.Time { return c.now }, true
	c.put(host.Hosts, "h1", host.Spec{}, host.Status{})
	c.put(host.Livenesses, "l1", host.LivenessSpec{HostID: "h1"}, host.LivenessStatus{State: host.Alive})
	c.put(storage.Datastores, "ds", storage.DatastoreSpec{}, storage.DatastoreStatus{Phase: "ready"})
	c.put(network.Networks, "net", network.Spec{}, network.Status{Phase: "ready"})
	return c
}

// put writes a record with both halves, as no writer of the program could. Its name is its id.
func put[S, T any](c *cloud, t *resource.Type[S, T], r *resource.Record[S, T]) {
	c.Helper()
	b := c.db.Begin()
	store.Specs(store.NewRegistry(), t, "test").Create(b, r)
	storetest.Plant(c.T, c.db, b)
}

func (c *cloud) put(t any, id resource.ID, spec, status any) { c.putHeld(t, id, spec, status, nil) }

func (c *cloud) putHeld(t any, id resource.ID, spec, status any, holders []string) {
	c.Helper()
	meta := resource.Meta{ID: id, Name: string(id), Created: c.now.Add(-10 * time.Minute), Holders: holders}
	d := t.(interface{ Describe() resource.Descriptor }).Describe()
	if d.Scope == resource.InProject {
		meta.Project = "blue"
	}
	if holders != nil {
		at := c.now.Add(-3 * time.Minute)
		meta.Deleting = &at
	}
	switch t := t.(type) {
	case *resource.Type[compute.VMSpec, compute.VMStatus]:
		put(c, t, &compute.VM{Meta: meta, Spec: spec.(compute.VMSpec), Status: status.(compute.VMStatus)})
	case *resource.Type[compute.InstanceSpec, compute.InstanceStatus]:
		put(c, t, &compute.Instance{Meta: meta, Spec: spec.(compute.InstanceSpec), Status: status.(compute.InstanceStatus)})
	case *resource.Type[storage.VolumeSpec, storage.VolumeStatus]:
		put(c, t, &storage.Volume{Meta: meta, Spec: spec.(storage.VolumeSpec), Status: status.(storage.VolumeStatus)})
	case *resource.Type[storage.AllocationSpec, storage.AllocationStatus]:
		put(c, t, &storage.Allocation{Meta: meta, Spec: spec.(storage.AllocationSpec), Status: status.(storage.AllocationStatus)})
	case *resource.Type[storage.ImageCopySpec, storage.ImageCopyStatus]:
		put(c, t, &storage.ImageCopy{Meta: meta, Spec: spec.(storage.ImageCopySpec), Status: status.(storage.ImageCopyStatus)})
	case *resource.Type[storage.AttachmentSpec, storage.AttachmentStatus]:
		put(c, t, &storage.Attachment{Meta: meta, Spec: spec.(storage.AttachmentSpec), Status: status.(storage.AttachmentStatus)})
	case *resource.Type[storage.DatastoreSpec, storage.DatastoreStatus]:
		put(c, t, &storage.Datastore{Meta: meta, Spec: spec.(storage.DatastoreSpec), Status: status.(storage.DatastoreStatus)})
	case *resource.Type[network.Spec, network.Status]:
		put(c, t, &network.Network{Meta: meta, Spec: spec.(network.Spec), Status: status.(network.Status)})
	case *resource.Type[network.PortSpec, network.PortStatus]:
		put(c, t, &network.Port{Meta: meta, Spec: spec.(network.PortSpec), Status: status.(network.PortStatus)})
	case *resource.Type[host.Spec, host.Status]:
		put(c, t, &host.Host{Meta: meta, Spec: spec.(host.Spec), Status: status.(host.Status)})
	case *resource.Type[host.LivenessSpec, host.LivenessStatus]:
		put(c, t, &host.Liveness{Meta: meta, Spec: spec.(host.LivenessSpec), Status: status.(host.LivenessStatus)})
	case *resource.Type[operation.Spec, operation.Status]:
		put(c, t, &operation.Operation{Meta: meta, Spec: spec.(operation.Spec), Status: status.(operation.Status)})
	case *resource.Type[task.Spec, task.Status]:
		put(c, t, &task.Task{Meta: meta, Spec: spec.(task.Spec), Status: status.(task.Status)})
	case *resource.Type[observe.EventSpec, observe.EventStatus]:
		put(c, t, &observe.Event{Meta: meta, Spec: spec.(observe.EventSpec), Status: status.(observe.EventStatus)})
	default:
		c.Fatalf("no %T here", t)
	}
}

// waiting puts a VM that waits for its disk's content, and everything on the way there. The
// names end in n.
func (c *cloud) waiting(n, digest string) {
	id := func(kind string) resource.ID { return resource.ID(kind + n) }
	base := &storage.Base{Digest: digest}
	c.put(compute.VMs, id("vm"), compute.VMSpec{Disks: []compute.Disk{{VolumeID: id("vol")}}, NICs: []compute.NIC{{PortID: id("port")}}},
		compute.VMStatus{Phase: compute.PhaseStarting, InstanceID: id("in"), HostID: "h1"})
	c.put(compute.Instances, id("in"), compute.InstanceSpec{VMID: id("vm"), HostID: "h1"}, compute.InstanceStatus{Phase: compute.InstanceWaiting})
	c.put(storage.Attachments, id("att"), storage.AttachmentSpec{VolumeID: id("vol"), Workload: resource.Ref{Kind: "vm", Project: "blue", ID: id("vm")}, InstanceID: id("in"), HostID: "h1"},
		storage.AttachmentStatus{Phase: storage.AttachmentWaiting})
	c.put(storage.Volumes, id("vol"), storage.VolumeSpec{Base: base}, storage.VolumeStatus{Phase: storage.VolumeCreating, DatastoreID: "ds"})
	c.put(storage.Allocations, id("all"), storage.AllocationSpec{VolumeID: id("vol"), DatastoreID: "ds", OwnerHostID: "h1", Base: base},
		storage.AllocationStatus{Phase: storage.Pending})
	c.put(storage.ImageCopies, id("copy"), storage.ImageCopySpec{Digest: digest, DatastoreID: "ds", OwnerHostID: "h1"},
		storage.ImageCopyStatus{Phase: storage.Fetching, Observed: c.trouble("unavailable", "fetch "+n+": the server closed the connection")})
	c.put(network.Ports, id("port"), network.PortSpec{NetworkID: "net"}, network.PortStatus{Phase: network.Ready})
}

func (c *cloud) trouble(kind, message string) resource.Observed {
	return resource.Observed{SeenGeneration: 1, Problems: []resource.Problem{{Kind: kind, Message: message, Since: c.now.Add(-time.Minute)}}}
}

func (c *cloud) explain(id resource.ID) string {
	c.Helper()
	snap := c.db.Snapshot()
	x := snap.Lookup(id)
	if x == nil {
		c.Fatalf("no record %s", id)
	}
	var out strings.Builder
	for _, l := range observe.Explain(snap, c.db.Catalog(), x, c.now, resource.Operator, compute.Remarks()) {
		fmt.Fprintln(&out, strings.Repeat("  ", l.Depth)+l.Text)
	}
	return out.String()
}

func (c *cloud) says(id resource.ID, want string) {
	c.Helper()
	want = strings.TrimPrefix(strings.ReplaceAll(want, "\n\t\t", "\n"), "\n")
	if got := c.explain(id); strings.TrimSpace(got) != strings.TrimSpace(want) {
		c.Errorf("explain %s:\n%s\nwanted:\n%s", id, got, want)
	}
}

func TestAVMThatWaitsIsFollowedToTheCause(t *testing.T) {
	c := newCloud(t)
	c.waiting("1", "sha256:aaaa")
	c.says("vm1", `
		vm vm1 in project blue is starting
		  instance in1 is waiting
		    attachment att1 is waiting
		      volume vol1 is creating
		        allocation all1 is pending
		          imagecopy copy1 is fetching
		            problem for 1m: fetch 1: the server closed the connection (unavailable: wait and retry)`)
}

func TestWhatWaitsBesideItOnTheSameHostIsNotMentioned(t *testing.T) {
	c := newCloud(t)
	c.waiting("1", "sha256:aaaa")
	alone := c.explain("vm1")
	c.waiting("2", "sha256:bbbb")
	c.waiting("3", "sha256:cccc")
	if got := c.explain("vm1"); got != alone {
		t.Errorf("beside two others:\n%s\nalone:\n%s", got, alone)
	}
	if got := c.explain("vm3"); strings.Contains(got, "fetch 1") || !strings.Contains(got, "fetch 3") {
		t.Errorf("explain vm3:\n%s", got)
	}
}

func TestALostHostIsTheReason(t *testing.T) {
	c := newCloud(t)
	c.put(host.Hosts, "h2", host.Spec{}, host.Status{})
	c.put(host.Livenesses, "l2", host.LivenessSpec{HostID: "h2"}, host.LivenessStatus{State: host.Lost})
	c.put(compute.VMs, "web", compute.VMSpec{}, compute.VMStatus{Phase: compute.PhaseUnknown, InstanceID: "in", HostID: "h2"})
	c.put(compute.Instances, "in", compute.InstanceSpec{VMID: "web", HostID: "h2"}, compute.InstanceStatus{Phase: compute.InstanceRunning})
	c.says("web", `
		vm web in project blue is unknown
		  liveness l2 is lost`)
}

func TestProblemsSayHowLongAndWhatToDo(t *testing.T) {
	c := newCloud(t)
	c.put(compute.VMs, "web", compute.VMSpec{}, compute.VMStatus{Phase: compute.PhasePending,
		Observed: c.trouble("exhausted", "place web: no host has 4096 MiB free")})
	c.says("web", `
		vm web in project blue is pending
		  problem for 1m: place web: no host has 4096 MiB free (exhausted: add capacity, free some, or raise the quota)`)
}

func TestWhoHoldsADeletedRecordIsNamed(t *testing.T) {
	c := newCloud(t)
	c.putHeld(network.Networks, "lan", network.Spec{}, network.Status{Phase: "ready"}, []string{"network"})
	c.put(network.Ports, "p", network.PortSpec{NetworkID: "lan"}, network.PortStatus{Phase: "ready"})
	c.says("lan", `
		network lan in project blue is being deleted (ready)
		  deleting for 3m: network has still something to undo and holds it
		  still referred to by port p`)
}

func TestADiskThatNobodyNeedsYetIsNoReason(t *testing.T) {
	c := newCloud(t)
	c.put(compute.VMs, "web", compute.VMSpec{Disks: []compute.Disk{{VolumeID: "vol"}}}, compute.VMStatus{Phase: compute.PhaseStopped})
	c.put(storage.Volumes, "vol", storage.VolumeSpec{}, storage.VolumeStatus{Phase: storage.VolumeUnbound})
	c.says("web", `
		vm web in project blue is stopped
		nothing keeps it from being as specified`)
}

func TestAHostInMaintenanceSaysWhatItDoesNotDo(t *testing.T) {
	c := newCloud(t)
	c.put(host.Hosts, "h2", host.Spec{Mode: host.Maintenance}, host.Status{})
	c.put(host.Livenesses, "l2", host.LivenessSpec{HostID: "h2"}, host.LivenessStatus{State: host.Alive})
	c.says("h2", `
		host h2 is there
		  it is in maintenance, and takes no new VMs; to end it: virga host activate h2
		  no VM runs on it`)
	for n, at := range []time.Duration{-3 * time.Hour, -2 * time.Hour} {
		c.put(observe.Events, resource.ID(fmt.Sprint("e", n)), observe.EventSpec{About: host.Ref("h2"), Reason: "maintenance", Message: "ann made it maintenance",
			Severity: "info", At: c.now.Add(at), By: "ann"}, observe.EventStatus{})
	}
	for _, id := range []resource.ID{"in1", "in2"} {
		c.put(compute.VMs, "vm"+id, compute.VMSpec{}, compute.VMStatus{Phase: compute.PhaseRunning, InstanceID: id, HostID: "h2"})
		c.put(compute.Instances, id, compute.InstanceSpec{VMID: "vm" + id, HostID: "h2"}, compute.InstanceStatus{Phase: compute.InstanceRunning})
	}
	got := c.explain("h2")
	for _, want := range []string{"it is in maintenance since 2026-03-01 10:00 UTC, by ann, and takes no new VMs", "2 VMs still run on it"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwanted: %s", got, want)
		}
	}
	if strings.Contains(got, "nothing keeps it") {
		t.Error(got)
	}
}

func TestAVolumeWithoutAPlaceSaysWhatItWaitsFor(t *testing.T) {
	c := newCloud(t)
	c.put(storage.Volumes, "data", storage.VolumeSpec{}, storage.VolumeStatus{Phase: storage.VolumeUnbound})
	c.says("data", `
		volume data in project blue is unbound
		  it takes no space yet: it gets its place when the first VM that has it among its disks starts, where that runs (virga vm create NAME --disk volume=data)`)
	c.put(compute.VMs, "web", compute.VMSpec{Disks: []compute.Disk{{VolumeID: "data"}}}, compute.VMStatus{Phase: compute.PhaseStopped, Disks: []compute.DiskStatus{{VolumeID: "data"}}})
	c.says("data", `
		volume data in project blue is unbound
		  it takes no space yet: it gets its place when VM web first starts, where that runs`)
}

func TestOperationsAndTheLastEventsAreTold(t *testing.T) {
	c := newCloud(t)
	about := resource.Ref{Kind: "vm", Project: "blue", ID: "web"}
	c.put(compute.VMs, "web", compute.VMSpec{}, compute.VMStatus{Phase: compute.PhaseRunning})
	c.put(operation.Operations, "op1", operation.Spec{Type: "vm.migrate", Target: about}, operation.Status{Phase: operation.Working,
		Observed: resource.Observed{Problems: []resource.Problem{{Kind: "unavailable", Message: "the mirror does not answer", Since: c.now.Add(-time.Minute)}}},
		Journal:  []operation.Entry{{Step: "prepare", State: operation.StepDone}, {Step: "transfer", State: operation.StepStarted, At: c.now.Add(-20 * time.Second)}}})
	c.put(operation.Operations, "op0", operation.Spec{Type: "vm.migrate", Target: about}, operation.Status{Phase: operation.Failed,
		Why: "host h2 was lost", EndedAt: c.now.Add(-time.Hour)})
	for i := range 7 {
		c.put(observe.Events, resource.ID(fmt.Sprintf("e%d", i)), observe.EventSpec{About: about, Subject: "web", Reason: "started",
			Message: fmt.Sprintf("start %d", i), Severity: "info", By: "agent", At: c.now.Add(-time.Duration(i) * time.Minute)}, observe.EventStatus{})
	}
	got := c.explain("web")
	for _, want := range []string{"nothing keeps it from being as specified\n", "operation vm.migrate is running for 10m, step transfer started 20s ago\n  problem for 1m: the mirror does not answer (unavailable: wait and retry)\n",
		"operation vm.migrate failed 1h ago: host h2 was lost\n", "  0s ago: start 0 (started, agent)\n", "  4m ago: start 4 "} {
		if !strings.Contains(got, want) {
			t.Errorf("not said: %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "start 5") {
		t.Errorf("too many events:\n%s", got)
	}
}

func TestTheTaskThatWorksOnARecordIsNamed(t *testing.T) {
	c := newCloud(t)
	about := resource.Ref{Kind: "volume", Project: "blue", ID: "data"}
	c.put(storage.Volumes, "data", storage.VolumeSpec{}, storage.VolumeStatus{Phase: storage.VolumeReady})
	c.put(task.Tasks, "t1", task.Spec{Type: "volume.copy", Target: about}, task.Status{Phase: task.Running,
		Observed: resource.Observed{Problems: []resource.Problem{{Kind: "unavailable", Message: "the share is not mounted", Since: c.now.Add(-time.Minute)}}}})
	c.put(task.Tasks, "t0", task.Spec{Type: "volume.copy", Target: about}, task.Status{Phase: task.Failed, Why: "no space is left", EndedAt: c.now.Add(-time.Hour)})
	c.put(task.Tasks, "other", task.Spec{Type: "volume.wipe", Target: resource.Ref{Kind: "volume", Project: "blue", ID: "else"}}, task.Status{Phase: task.Running})
	got := c.explain("data")
	for _, want := range []string{"task volume.copy is running for 10m; virga task cancel t1 stops it\n  problem for 1m: the share is not mounted (unavailable: wait and retry)\n",
		"task volume.copy failed 1h ago: no space is left\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("not said: %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "wipe") {
		t.Errorf("somebody else's task is named:\n%s", got)
	}
}

func TestACircleOfReferencesEnds(t *testing.T) {
	c := newCloud(t)
	for i := range 30 {
		n := fmt.Sprint(i)
		c.waiting(n, "sha256:"+n)
	}
	for _, id := range []resource.ID{"h1", "ds", "vm7", "net", "vol3"} {
		lines := strings.Split(c.explain(id), "\n")
		if len(lines) > 90 {
			t.Errorf("explain %s says %d lines", id, len(lines))
		}
		slices.Sort(lines)
		if again := slices.Compact(slices.Clone(lines)); id != "h1" && len(again) != len(lines) {
			t.Errorf("explain %s repeats itself:\n%s", id, strings.Join(lines, "\n"))
		}
	}
}

func TestTheRouteAnswersPeopleOfTheProjectOnly(t *testing.T) {
	c := newCloud(t)
	c.waiting("1", "sha256:aaaa")
	caller := httpapi.Caller{User: "eve", Right: httpapi.Read, Project: "blue"}
	a := httpapi.New(c.db, httpapi.Options{Authenticate: func(*http.Request) (httpapi.Caller, error) { return caller, nil }})
	observe.RegisterExplain(a, nil, nil)
	httpapi.Register(a, compute.VMs, httpapi.Routes[compute.VMSpec, compute.VMStatus]{})
	httpapi.Register(a, host.Hosts, httpapi.Routes[host.Spec, host.Status]{})
	ask := func(path string) (int, observe.Explanation) {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", path, nil))
		var out observe.Explanation
		_ = json.Unmarshal(w.Body.Bytes(), &out)
		return w.Code, out
	}
	if code, out := ask("/v1/explain/vm/vm1?project=blue"); code != 200 || len(out.Lines) < 5 || out.Lines[0].Text != "vm vm1 in project blue is starting" {
		t.Errorf("own project: %d %+v", code, out)
	} else if text := fmt.Sprint(out.Lines); strings.Contains(text, "h1") || strings.Contains(text, "datastore ds") {
		t.Errorf("a tenant is told of hosts and datastores: %s", text)
	}
	for path, want := range map[string]int{"/v1/explain/vms/vm1?project=blue": 200, "/v1/explain/vm/nobody?project=blue": 404, "/v1/explain/vm/vm1?project=red": 403,
		"/v1/explain/host/h1": 403, "/v1/explain/horse/h1": 404} {
		if code, _ := ask(path); code != want {
			t.Errorf("%s: %d, wanted %d", path, code, want)
		}
	}
}
