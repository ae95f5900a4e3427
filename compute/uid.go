package compute

import (
	"fmt"
	"hash/fnv"

	"github.com/virga-cloud/virga/engine/resource"
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

// uidWord is what a VM takes, so that no other runs as its user.
func uidWord(uid int64) string { return fmt.Sprintf("uid:%d", uid) }
