package compute_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// send makes a request that may be refused, and gives the status of its answer and the answer.
func (o *office) send(method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	o.api.ServeHTTP(w, httptest.NewRequest(method, "/v1/projects/p/"+path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// parts judges what all VMs have: what each spec asks for by name is there once, lives, and is nobody else's.
func (o *office) parts(r *rapid.T) {
	snap := o.db.Snapshot()
	taken := map[any]string{}
	take := func(what any, vm *compute.VM) {
		if other, twice := taken[what]; twice {
			r.Fatalf("%v is used by %s and by %s", what, other, vm.Name)
		}
		taken[what] = vm.Name
	}
	for _, vm := range store.Every(snap, compute.VMs) {
		if vm.Deleting != nil {
			continue
		}
		if len(vm.Spec.Disks) != len(vm.Status.Disks) || len(vm.Spec.NICs) != len(vm.Status.NICs) {
			r.Fatalf("%s asks for %s and has %s", vm.Name, spec(vm.Spec), spec(vm.Status))
		}
		for i, d := range vm.Spec.Disks {
			has := vm.Status.Disks[i]
			v := store.Find(snap, storage.Volumes, has.VolumeID)
			switch {
			case has.Name != d.Name || has.Model != d.Model || d.VolumeID != "" && d.VolumeID != has.VolumeID:
				r.Fatalf("%s: disk %+v has %+v", vm.Name, d, has)
			case v == nil || v.Deleting != nil:
				r.Fatalf("%s: the volume of disk %s is gone", vm.Name, d.Name)
			case v.Owner != nil && !v.OwnedBy(vm.ID):
				r.Fatalf("%s: the volume of disk %s goes with %+v", vm.Name, d.Name, v.Owner)
			case d.VolumeID == "" && v.Spec.SizeMiB != d.SizeMiB:
				r.Fatalf("%s: disk %s of %d MiB has a volume of %d", vm.Name, d.Name, d.SizeMiB, v.Spec.SizeMiB)
			}
			take(v.ID, vm)
		}
		for i, n := range vm.Spec.NICs {
			has := vm.Status.NICs[i]
			p := store.Find(snap, network.Ports, has.PortID)
			switch {
			case has.Name != n.Name || n.PortID != "" && n.PortID != has.PortID:
				r.Fatalf("%s: NIC %+v has %+v", vm.Name, n, has)
			case p == nil || p.Deleting != nil:
				r.Fatalf("%s: the port of NIC %s is gone", vm.Name, n.Name)
			case p.Spec.Hostname != compute.Hostname(vm):
				r.Fatalf("%s: the port of NIC %s is called %q", vm.Name, n.Name, p.Spec.Hostname)
			case n.Address != "" && n.Address != p.Status.Address:
				r.Fatalf("%s: NIC %s asks for %s and has %s", vm.Name, n.Name, n.Address, p.Status.Address)
			}
			take(p.ID, vm)
			take(p.Status.Address, vm)
		}
	}
	for _, v := range store.Every(snap, storage.Volumes) {
		if v.Owner != nil && v.Deleting == nil && taken[v.ID] == "" {
			r.Fatalf("volume %s goes with %+v, which does not use it", v.Name, v.Owner)
		}
	}
	for _, p := range store.Every(snap, network.Ports) {
		if p.Deleting == nil && taken[p.ID] == "" && (p.Owner != nil || p.Spec.Hostname != "") {
			r.Fatalf("port %s is %s, and nobody's NIC", p.Name, spec(p))
		}
	}
}

// Whatever is asked of the disks and NICs of two VMs, in any order: a request that is refused changes nothing,
// and after one that is granted each VM has just what its spec says.
func TestAnyChangeOfDisksAndNICsIsWholeOrRefused(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		o := withParts(t)
		o.ask(201, "POST", "volumes", `{"name":"more","spec":{"sizeMiB":16}}`, nil)
		for _, name := range []string{"a", "b"} {
			o.ask(201, "POST", "vms", fmt.Sprintf(`{"name":%q,"spec":{"power":"stopped","disks":[{"sizeMiB":64}],"nics":[{}]}}`, name), nil)
		}
		disk := rapid.Custom(func(r *rapid.T) compute.Disk {
			d := compute.Disk{Name: rapid.SampledFrom([]string{"", "", "disk0", "disk1", "logs"}).Draw(r, "name")}
			if d.SizeMiB = rapid.SampledFrom([]int64{0, 8, 64, 128}).Draw(r, "size"); d.SizeMiB == 0 {
				d.VolumeID = store.Named(o.db.Snapshot(), storage.Volumes, "p", rapid.SampledFrom([]string{"data", "more"}).Draw(r, "volume")).ID
			}
			return d
		})
		nic := rapid.Custom(func(r *rapid.T) compute.NIC {
			n := compute.NIC{Name: rapid.SampledFrom([]string{"", "", "nic0", "nic1"}).Draw(r, "name")}
			switch rapid.IntRange(0, 3).Draw(r, "of") {
			case 0:
				n.PortID = "door"
			case 1:
				n.Address = rapid.SampledFrom([]string{"10.1.0.70", "10.1.0.71", "10.9.0.1"}).Draw(r, "address")
			}
			return n
		})
		r.Repeat(map[string]func(*rapid.T){
			"change": func(r *rapid.T) {
				vm := store.Named(o.db.Snapshot(), compute.VMs, "p", rapid.SampledFrom([]string{"a", "b"}).Draw(r, "vm"))
				keep := func(n int, of string) int { return rapid.IntRange(0, n).Draw(r, of) }
				disks := append(slices.Clone(vm.Spec.Disks[:keep(len(vm.Spec.Disks), "disks kept")]), rapid.SliceOfN(disk, 0, 2).Draw(r, "disks")...)
				nics := append(slices.Clone(vm.Spec.NICs[:keep(len(vm.Spec.NICs), "NICs kept")]), rapid.SliceOfN(nic, 0, 2).Draw(r, "NICs")...)
				body, _ := json.Marshal(map[string]any{"spec": map[string]any{"disks": disks, "nics": nics}})
				before := o.db.Revision()
				code, text := o.send("PATCH", "vms/"+vm.Name, string(body))
				if code >= 500 || code >= 300 && o.db.Revision() != before {
					r.Fatalf("%s: %d %s; revision %d, then %d", body, code, text, before, o.db.Revision())
				}
			},
			"": o.parts,
		})
	})
}

func TestWhatOfAVMCannotBeChangedIsRefusedInWords(t *testing.T) {
	o := withParts(t)
	o.ask(201, "POST", "vms", aVM, nil)
	o.ask(201, "POST", "vms", `{"name":"other","spec":{"power":"stopped","disks":[{"sizeMiB":8}],"nics":[{}]}}`, nil)
	o.ask(201, "POST", "volumes", `{"name":"going","spec":{"sizeMiB":8}}`, nil)
	o.ask(201, "POST", "ports", `{"name":"leaving","spec":{"networkID":"default"}}`, nil)
	o.send("DELETE", "volumes/going", "")
	o.send("DELETE", "ports/leaving", "")
	for body, want := range map[string]string{
		`{"hostID":"h1"}`: "its image and its host cannot be changed; create another VM",
		`{"disks":[{"name":"disk0","sizeMiB":8},{"volumeID":"web-disk0"}]}`:           "volume web-disk0 is a disk of VM web; detach it there, or choose another volume",
		`{"disks":[{"name":"disk0","sizeMiB":8},{"volumeID":"none"}]}`:                `no volume \"none\" in project p; see virga volume list`,
		`{"disks":[{"name":"disk0","sizeMiB":8},{"volumeID":"going"}]}`:               "going",
		`{"disks":[{"name":"disk0","sizeMiB":8,"model":"sata"}]}`:                     "disk disk0 cannot be changed but in its size, limits and I/O profile",
		`{"disks":[{"name":"disk0","sizeMiB":4}]}`:                                    "disk disk0 has 8 MiB and cannot become smaller",
		`{"disks":[{"name":"disk0","sizeMiB":8},{"sizeMiB":8,"datastoreID":"slow"}]}`: `slow`,
		`{"nics":[{"name":"nic0","model":"e1000"}]}`:                                  "NIC nic0 cannot be changed but in its I/O profile",
		`{"nics":[{"portID":"door"}]}`:                                                "port door is a NIC of VM web; detach it there, or choose another port",
		`{"nics":[{"portID":"nobody"}]}`:                                              `no port \"nobody\" in project p; see virga port list`,
		`{"nics":[{"portID":"leaving"}]}`:                                             "leaving",
		`{"nics":[{},{"networkID":"default","address":"10.1.0.77"}]}`:                 "10.1.0.77",
	} {
		before := o.db.Revision()
		code, text := o.send("PATCH", "vms/other", `{"spec":`+body+`}`)
		if code < 400 || code >= 500 || !strings.Contains(text, want) || o.db.Revision() != before {
			t.Errorf("%s: %d %s\nwant %q; revision %d, then %d", body, code, text, want, before, o.db.Revision())
		}
	}
}
