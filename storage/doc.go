// Package storage turns folders, shares and disks into volumes.
//
// The three-step model: a Backend says how something is reached, a Device is what a host's scan
// found there, a Datastore is made on it, and Volumes live on datastores.
//
//	noun        spec written by        status written by      states
//	Backend     API                    storage loop           -
//	Device      the finding agent      the finding agent      -
//	Datastore   API                    storage loop           starting, unreachable, ready
//	Volume      API                    storage loop           unbound, creating, ready, failed, lost, deleting
//	VolumeSnapshot  API               storage loop           pending, ready
//	Allocation  storage loop           owner host's agent     pending, ready, failed
//	ImageCopy   storage loop           owner host's agent     pending, fetching, ready, failed
//	Attachment  compute                the host's agent       waiting, ready, closed
//
// A Volume says what is wanted. An Allocation is its space on one datastore, looked after by one host's
// agent, the owner host. An ImageCopy is an immutable content-addressed file on a datastore that
// allocations are backed by. An Attachment lets one instance on one host use a volume.
//
// A volume without a requested datastore stays unbound until its first Attachment says from
// which host it must be reached.
//
// Growth: the desired size is the volume's, what its datastore admits is the allocation's. While a host uses
// the file only the QEMU process there may touch it: compute tells its instance the size, and the
// owner host waits until it sees it. A file that nobody uses is grown by the owner host.
//
// Layers: a volume is a tree of layers from its first day. Only the active one is written to; all others are
// committed and never change. The allocation's spec says which there shall be, its status which lie there; the
// owner host makes, pulls together and removes them. While a host uses the volume, its chain stays as it is: the
// commit that changes it and the one that begins to use the volume go in turn. A VolumeSnapshot names a
// committed layer; a volume that goes back to one gets a new layer on it.
//
// Epochs: an Attachment carries the epoch of its owner; the agent keeps the highest epoch it has
// seen beside the volume and refuses lower ones. QEMU's image locks stay on as the last wall.
//
// The same folder seen from two hosts is found to be the same by a marker file with an id in it.
package storage
