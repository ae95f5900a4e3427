package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/storage"
)

// project is where all VMs of a story live.
const project resource.ID = "01990000-0000-7000-8000-00000000000d"

const tries = 5 // of a request that lost a race, as the API's

// request does what the API does with a call: a batch on the server's newest picture, again when
// somebody was faster.
func (c *Cluster) request(fill func(*store.Snapshot, *store.Batch) error) error {
	s := c.server
	var err error
	for range tries {
		if !s.up() {
			return fault.New(fault.Unavailable, "no server answers")
		}
		err = s.guarded(func() error {
			if err := s.db.CatchUp(context.Background()); err != nil {
				return err
			}
			b := s.db.Begin()
			if err := fill(s.db.Snapshot(), b); err != nil {
				return err
			}
			return s.db.Commit(context.Background(), b)
		})
		if errors.Is(err, errCrashed) {
			err = fault.New(fault.Unavailable, "the server crashed")
		}
		if !fault.Is(err, fault.Conflict) {
			break
		}
		s.arriveAll()
	}
	c.trace.add("  request: %s", fault.KindOf(err))
	c.lastError = err
	return err
}

// arriveAll lets everything arrive that is on its way.
func (p *daemon) arriveAll() {
	p.feed.release(func(told) bool { return true })
	_ = p.db.CatchUp(context.Background())
}

func (c *Cluster) must(err error) {
	if err != nil {
		c.fail("%v", err)
	}
}

// seedCloud makes what every cloud has from the first start.
func (c *Cluster) seedCloud() {
	c.must(c.request(func(_ *store.Snapshot, b *store.Batch) error {
		c.server.Identity.Projects.Create(b, &identity.Project{Meta: resource.Meta{ID: project, Name: identity.DefaultProject}})
		c.server.Network.Seeder().SeedDefaults(b, project)
		cluster.EnsureDefault(b, c.server.db.Snapshot(), c.server.Clusters)
		return nil
	}))
}

// createVolume makes a volume that belongs to nobody.
func (c *Cluster) createVolume(name string) error {
	return c.request(func(_ *store.Snapshot, b *store.Batch) error {
		v := &storage.Volume{Spec: storage.VolumeSpec{SizeMiB: 1024}}
		v.ID, v.Name, v.Project = resource.NewID(), name, project
		c.server.Front.Volumes.Create(b, v, storage.Holder)
		return nil
	})
}

// addDatastore makes a storage backend and a datastore of one name, on a folder that the hosts share.
func (c *Cluster) addDatastore(name string, capacityMiB int64, hosts ...*Host) {
	r := &storage.Backend{Spec: storage.BackendSpec{Type: storage.Folder, Path: "/srv/" + name}}
	r.ID, r.Name = resource.NewID(), name
	for _, h := range hosts {
		r.Spec.HostIDs = append(r.Spec.HostIDs, h.ID)
		h.disks.Mount(r.Spec.Path, name, capacityMiB)
	}
	c.must(c.request(func(_ *store.Snapshot, b *store.Batch) error {
		c.server.Storage.Backends.Create(b, r, storage.Holder)
		d := &storage.Datastore{Spec: storage.DatastoreSpec{BackendID: r.ID}}
		d.Name = name
		c.server.Storage.Datastores.Create(b, d, storage.Holder)
		return nil
	}))
	c.folders = append(c.folders, folder{name, hosts})
}

// addImage makes an image; what is missing is an image whose content no server has.
func (c *Cluster) addImage(name, phase string, missing bool) {
	content := []byte("the disk " + name)
	sum := sha256.Sum256(content)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	if !missing {
		c.images[digest] = content
	}
	c.must(c.request(func(_ *store.Snapshot, b *store.Batch) error {
		i := &compute.Image{Spec: compute.ImageSpec{Visibility: compute.ToCloud}}
		i.Name, i.Project = name, project
		i.Status = compute.ImageStatus{Phase: phase, Digest: digest, SizeMiB: 1, VirtualMiB: 64}
		c.server.Image.Images.Create(b, i)
		return nil
	}))
}

func (c *Cluster) vm(name string) *compute.VM {
	return store.Named(c.all.Snapshot(), compute.VMs, project, name)
}

// withVM makes a request about a VM.
func (c *Cluster) withVM(name string, do func(*store.Snapshot, *store.Batch, *compute.VM) error) error {
	return c.request(func(s *store.Snapshot, b *store.Batch) error {
		vm := store.Named(s, compute.VMs, project, name)
		if vm == nil {
			return fault.New(fault.NotFound, "no vm %q in project %s; see virga vm list", name, s.NameOf(project))
		}
		return do(s, b, vm)
	})
}

// createVM does what the API does for POST.
func (c *Cluster) createVM(name string, in compute.VMSpec) error {
	return c.request(func(s *store.Snapshot, b *store.Batch) error {
		vm := &compute.VM{Meta: resource.Meta{Kind: compute.VMs.Kind, ID: resource.NewID(), Name: name, Project: project}, Spec: in}
		compute.DefaultVM(&vm.Spec)
		if err := fault.Fields("create VM "+name, compute.CheckVM(&vm.Spec)); err != nil {
			return err
		}
		if store.Named(s, compute.VMs, project, name) != nil {
			return fault.New(fault.Exists, "create VM %s: there is one of this name already", name)
		}
		if err := c.server.Front.Create(s, b, vm); err != nil {
			return err
		}
		c.server.Front.VMs.Create(b, vm, compute.Holder)
		return nil
	})
}

// idOf is the id that a name means, as the API finds it; a name that is not there stays.
func idOf[S, T any](c *Cluster, t *resource.Type[S, T], project resource.ID, name string) resource.ID {
	if r := store.Named(c.server.db.Snapshot(), t, project, name); r != nil {
		return r.ID
	}
	return resource.ID(name)
}

// migrate starts the operation as the API's route does.
func (c *Cluster) migrate(name, target string) error {
	return c.withVM(name, func(s *store.Snapshot, b *store.Batch, vm *compute.VM) error {
		var to resource.ID
		if target != "" {
			to = c.Host(target).ID
		}
		if err := compute.Movable(vm, to); err != nil {
			return err
		}
		if err := operation.Free(s, vm.Ref()); err != nil {
			return err
		}
		_, err := operation.Start(b, c.server.Front.Operations, operation.Request{
			Type: compute.MigrateType, Targets: []resource.Ref{vm.Ref()}, Input: compute.MigrateInput{HostID: to}, By: "story",
		})
		return err
	})
}

// cancel cancels what works on a VM.
func (c *Cluster) cancel(name string) error {
	return c.withVM(name, func(s *store.Snapshot, b *store.Batch, vm *compute.VM) error {
		op := operation.InTheWay(s, vm.ID)
		if op == nil {
			return fault.New(fault.Precondition, "nothing works on %s", name)
		}
		return operation.Cancel(b, c.server.Front.Operations, op)
	})
}

// setMode changes a host's mode.
func (c *Cluster) setMode(name string, mode host.Mode) error {
	return c.request(func(s *store.Snapshot, b *store.Batch) error {
		h := store.Named(s, host.Hosts, "", name)
		c.server.Rights.Host.Hosts.Set(b, h, func(spec *host.Spec) { spec.Mode = mode })
		return nil
	})
}

// declareDead removes a host as the API's route does.
func (c *Cluster) declareDead(name string, switchedOff bool) error {
	return c.request(func(s *store.Snapshot, b *store.Batch) error {
		h := store.Named(s, host.Hosts, "", name)
		if h == nil {
			return fault.New(fault.NotFound, "no host %q", name)
		}
		if h.Deleting != nil {
			return fault.New(fault.Precondition, "host %s is being deleted", name)
		}
		return c.server.Remover.Dead(b, s, h, &host.DeadRequest{SwitchedOff: switchedOff}, "story")
	})
}

// resize asks for a larger volume.
func (c *Cluster) resize(name string, mib int64) error {
	return c.request(func(s *store.Snapshot, b *store.Batch) error {
		v := store.Named(s, storage.Volumes, project, name)
		if v == nil {
			return fault.New(fault.NotFound, "no volume %q", name)
		}
		desired := v.Spec
		desired.SizeMiB = mib
		if err := storage.Growable(s, v, &desired); err != nil {
			return err
		}
		c.server.Front.Volumes.Set(b, v, func(spec *storage.VolumeSpec) { *spec = desired })
		return nil
	})
}

// deleteVMs deletes every VM.
func (c *Cluster) deleteVMs() {
	for _, vm := range store.Every(c.all.Snapshot(), compute.VMs) {
		c.must(c.withVM(vm.Name, c.deleteVM))
	}
}

// deleteVM does what the API does for DELETE.
func (c *Cluster) deleteVM(s *store.Snapshot, b *store.Batch, vm *compute.VM) error {
	store.DeleteOwned(b, s, vm.ID)
	return c.server.Front.Delete(s, b, vm)
}

// lastMove is the newest migration of a VM.
func (c *Cluster) lastMove(vmID resource.ID) *operation.Operation {
	ops := store.Every(c.all.Snapshot(), operation.Operations)
	for _, op := range slices.Backward(ops) {
		if op.Spec.Target.ID == vmID {
			return op
		}
	}
	return nil
}
