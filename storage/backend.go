package storage

import (
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// BackendType is a way to reach storage.
type BackendType string

// The types.
const (
	// Folder is a directory on the host: a local disk, or a share that the host has mounted.
	Folder BackendType = "folder"
	// PlainFolder is one in which volumes lie as they are, with all their space set aside: the least stands
	// between a guest and the disk, and they have neither images nor snapshots.
	PlainFolder BackendType = "plain-folder"
)

// BackendSpec says how storage is reached.
type BackendSpec struct {
	// Type is the way.
	Type BackendType `json:"type" enum:"folder,plain-folder"`
	// Path is the folder on each of the hosts; a relative path, which only the cloud
	// itself writes, is below the host's state folder.
	Path string `json:"path"`
	// HostIDs are the hosts that reach it; a request may name them instead.
	HostIDs []resource.ID `json:"hostIDs" ref:"host"`
}

// BackendStatus is what the hosts found.
type BackendStatus struct {
	resource.Observed
	// DeviceIDs are the devices that scans found.
	DeviceIDs []resource.ID `json:"deviceIDs,omitempty"`
	// PendingHostIDs are the hosts that have not looked there yet.
	PendingHostIDs []resource.ID `json:"pendingHostIDs,omitempty"`
}

// Backend says how some storage is reached.
type Backend = resource.Record[BackendSpec, BackendStatus]

// Backends is the kind.
var Backends = resource.Define("storagebackend", "storagebackends", resource.Options[BackendSpec, BackendStatus]{
	Doc: "A storage backend: how some storage is reached.", Scope: resource.InCloud, Reach: resource.EveryHost,
	Refs: func(r *Backend) []resource.Ref {
		var out []resource.Ref
		for _, id := range r.Spec.HostIDs {
			out = append(out, host.Ref(id))
		}
		return out
	},
})

// Ability is what the volumes on some storage can do.
type Ability string

// The abilities.
const (
	CanClone Ability = "clone" // start from an image, or from another volume, and share what is in it
	CanGrow  Ability = "grow"  // become larger
	// CanSnapshot: keep what they held at one moment
	CanSnapshot Ability = "snapshot"
)

// DeviceSpec is what a scan found.
type DeviceSpec struct {
	// BackendID is where it was found, Type the type of that.
	BackendID resource.ID `json:"backendID"`
	Type      BackendType `json:"type" enum:"folder,plain-folder"`
	// HostID is who found it.
	HostID resource.ID `json:"hostID"`
	// Identity is the same wherever the same device is seen.
	Identity string `json:"identity"`
	// Path is where it is on that host.
	Path string `json:"path"`
}

// DeviceStatus is its size.
type DeviceStatus struct {
	resource.Observed
	// CapacityMiB and FreeMiB are its size and what is free, in MiB, when it was last looked at.
	CapacityMiB int64 `json:"capacityMiB"`
	FreeMiB     int64 `json:"freeMiB"`
	// Abilities are what volumes on it can do, by the driver of that host.
	Abilities []Ability `json:"abilities,omitempty" enum:"clone,grow,snapshot"`
}

// Device is storage that a host's scan found.
type Device = resource.Record[DeviceSpec, DeviceStatus]

// Devices is the kind.
var Devices = resource.Define("device", "devices", resource.Options[DeviceSpec, DeviceStatus]{
	Doc: "A disk, LUN or share that a host found behind a storage backend.", Scope: resource.InCloud,
	Reach: resource.NamedHost, HostMakes: true,
	Refs: func(d *Device) []resource.Ref {
		return []resource.Ref{host.Ref(d.Spec.HostID), {Kind: "storagebackend", ID: d.Spec.BackendID}}
	},
})

// DatastoreSpec says on what the datastore lies.
type DatastoreSpec struct {
	// BackendID is the storage backend whose devices it is made on; a request may name it instead.
	BackendID resource.ID `json:"backendID" ref:"storagebackend"`
}

// The phases of a datastore.
const (
	DatastoreStarting    = "starting"    // its hosts have not looked yet
	DatastoreUnreachable = "unreachable" // no living host reaches it
	DatastoreReady       = "ready"
)

// DatastoreStatus is what is known of it.
type DatastoreStatus struct {
	resource.Observed
	// Phase is starting, unreachable or ready.
	Phase string `json:"phase,omitempty" enum:"starting,unreachable,ready"`
	// Identity is that of the devices below.
	Identity string `json:"identity,omitempty"`
	// HostIDs are the hosts that reach it.
	HostIDs []resource.ID `json:"hostIDs,omitempty"`
	// CapacityMiB and FreeMiB are its size and what is free, in MiB.
	CapacityMiB int64 `json:"capacityMiB"`
	FreeMiB     int64 `json:"freeMiB"`
	// Abilities are what its volumes can do, on each of the hosts that reach it.
	Abilities []Ability `json:"abilities,omitempty" enum:"clone,grow,snapshot"`
	// PromisedMiB is the sum of the sizes of its volumes.
	PromisedMiB int64 `json:"promisedMiB"`
}

// Datastore is where volumes live.
type Datastore = resource.Record[DatastoreSpec, DatastoreStatus]

// Datastores is the kind.
var Datastores = resource.Define("datastore", "datastores", resource.Options[DatastoreSpec, DatastoreStatus]{
	Doc: "A place where volumes live.", Scope: resource.InCloud, Reach: resource.EveryHost,
	Needs: func(d *Datastore) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "storagebackend", ID: d.Spec.BackendID}, Tie: resource.Alone}}
	},
})
