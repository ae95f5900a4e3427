package compute

import (
	"fmt"
	"strings"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/storage"
)

// Remarks say what is no problem and still worth knowing, of nouns that VMs use.
func Remarks() observe.Remarks {
	return observe.Remarks{host.Hosts.Kind: remarkHost, storage.Volumes.Kind: remarkVolume, VMs.Kind: remarkVM}
}

// remarkHost says what a host that is cordoned or in maintenance does not do, and what still runs there.
func remarkHost(s *store.Snapshot, x resource.Object) []string {
	h := x.(*host.Host)
	if h.Spec.Mode == host.Active || h.Deleting != nil {
		return nil
	}
	since := ""
	var newest *observe.Event
	for _, e := range store.Referring(s, observe.Events, h.ID) {
		if e.Spec.About.ID == h.ID && e.Spec.Reason == string(h.Spec.Mode) && (newest == nil || e.Spec.At.After(newest.Spec.At)) {
			newest = e
		}
	}
	if newest != nil {
		since = fmt.Sprintf(" since %s, by %s", newest.Spec.At.UTC().Format("2006-01-02 15:04 MST"), newest.Spec.By)
	}
	is, away := "cordoned", "virga vm migrate NAME moves one away, virga host maintenance "+h.Name+" all"
	if h.Spec.Mode == host.Maintenance {
		is, away = "in maintenance", "virga host show "+h.Name+" says what becomes of each"
	}
	out := []string{fmt.Sprintf("it is %s%s, and takes no new VMs; to end it: virga host activate %s", is, since, h.Name)}
	switch n := len(store.Referring(s, Instances, h.ID)); n {
	case 0:
		return append(out, "no VM runs on it")
	case 1:
		return append(out, "1 VM still runs on it; "+away)
	default:
		return append(out, fmt.Sprintf("%d VMs still run on it; %s", n, away))
	}
}

// remarkVolume says what a volume without a place waits for.
func remarkVolume(s *store.Snapshot, x resource.Object) []string {
	v := x.(*storage.Volume)
	if v.Status.Phase != storage.VolumeUnbound || v.Deleting != nil || v.Spec.DatastoreID != "" {
		return nil
	}
	var users []string
	for _, vm := range store.Referring(s, VMs, v.ID) {
		users = append(users, vm.Name)
	}
	if len(users) > 0 {
		return []string{"it takes no space yet: it gets its place when VM " + strings.Join(users, " or ") + " first starts, where that runs"}
	}
	return []string{"it takes no space yet: it gets its place when the first VM that has it among its disks starts, where that runs (virga vm create NAME --disk volume=" + v.Name + ")"}
}

// remarkVM says what of its memory a guest cannot be given or cannot give back, and which driver it lacks.
func remarkVM(s *store.Snapshot, x resource.Object) (out []string) {
	vm := x.(*VM)
	i := store.Find(s, Instances, vm.Status.InstanceID)
	if i == nil {
		return nil
	}
	if has := i.Status.MemoryMiB; has > 0 && has < i.Spec.MemoryMiB {
		out = append(out, fmt.Sprintf("its guest has taken %d of the %d MiB of memory that it is given: it needs a driver (virtio_mem in Linux), and must bring new memory online (in Linux: echo online_movable > /sys/devices/system/memory/auto_online_blocks)", has, i.Spec.MemoryMiB))
	}
	if i.Status.BalloonDriver != "no" {
		return out
	}
	return append(out, "its guest has no balloon driver (virtio_balloon in Linux, the balloon service of the virtio drivers in Windows): where its host is short of memory, what the VM has above its reservation can only be swapped")
}
