package compute

import (
	"fmt"
	"hash/fnv"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// QEMU processes run as users of their own, one for each VM, the same on every host, so that a
// disk on a shared datastore needs no change of owner when its VM moves. The users are bare
// numbers, far from those of the host.
const (
	firstUID = 1_000_000_000
	uidCount = 1_000_000_000
)

// UIDFor proposes the user of a VM: a hash of its id. Attempt picks another when it is taken.
func UIDFor(id resource.ID, attempt int) int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d", id, attempt)
	return firstUID + int64(h.Sum64()%uidCount)
}

// UIDKey is the claim key that keeps a user to one VM.
func UIDKey(uid int64) resource.Ref { return store.ClaimKey("", fmt.Sprintf("uid:%d", uid)) }
