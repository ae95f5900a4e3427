package placement

import (
	"cmp"
	"maps"
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
	"github.com/virga-cloud/virga/storage"
)

// node is a host as placement sees it.
type node struct {
	id   resource.ID
	name string
	// clusterID is the cluster that it is of.
	clusterID resource.ID
	// zone is the availability zone that it is in; empty: in none.
	zone string
	// known: its record is there and is not being deleted. Claims may speak of a host that is not.
	known, removed bool
	mode           host.Mode
	life           host.LifeState
	// machineType is the newest that its QEMU knows; empty: no QEMU works there, and problem says why.
	machineType string
	version     int
	problem     string
	// total is what can be promised in all, overcommit included; claimed is promised already.
	total, claimed Demand
	// mhz is the clock of one thread.
	mhz int64
	// cells are its memory nodes, where there is a choice; bound is what is promised on each. Both are
	// replaced, never changed.
	cells []numa.Cell
	bound []numa.Size
	// parts are all that is bound by claims, by the number of the node: of a node that is not known (yet), too.
	parts map[int]numa.Size
	// stores are the datastores that it reaches, as places in State.stores; replaced, never changed.
	stores []int
}

func (n *node) free() Demand { return n.total.minus(n.claimed) }

// datastore is a datastore as placement sees it.
type datastore struct {
	id                                resource.ID
	name                              string
	known, ready                      bool
	capacityMiB, freeMiB, promisedMiB int64
}

func (d *datastore) takes(mib int64) bool {
	return d.known && d.ready && storage.Policy{}.Fits(d.capacityMiB, d.freeMiB, d.promisedMiB, mib)
}

// State is all that a decision depends on. A Feed keeps one current from what changes in the view; a
// Clone of it is free to be played with: what if this workload were there?
type State struct {
	nodes    []node
	nodeAt   map[resource.ID]int
	stores   []datastore
	storeAt  map[resource.ID]int
	nextNode int // where the next search begins
	// members are the claims that are in an affinity rule, by the rule.
	members map[resource.ID][]member
}

func newState() *State {
	return &State{nodeAt: map[resource.ID]int{}, storeAt: map[resource.ID]int{}, members: map[resource.ID][]member{}}
}

// Clone gives a state of its own, which shares nothing that either of them changes.
func (s *State) Clone() *State {
	c := *s
	c.nodes, c.stores = slices.Clone(s.nodes), slices.Clone(s.stores)
	c.nodeAt, c.storeAt, c.members = maps.Clone(s.nodeAt), maps.Clone(s.storeAt), maps.Clone(s.members)
	return &c
}

// Claim takes capacity on a host, parts of it on its memory nodes; Free gives it back.
func (s *State) Claim(hostID resource.ID, d Demand, parts []host.NUMAPart) {
	n := s.node(hostID)
	n.claimed = n.claimed.plus(d)
	n.bind(parts, 1)
}

// Free is the opposite of Claim.
func (s *State) Free(hostID resource.ID, d Demand, parts []host.NUMAPart) {
	n := s.node(hostID)
	n.claimed = n.claimed.minus(d)
	n.bind(parts, -1)
}

// node gives a host's place, and makes it where there is none: a claim may be heard of before its host.
func (s *State) node(id resource.ID) *node {
	i, there := s.nodeAt[id]
	if !there {
		i = len(s.nodes)
		s.nodes, s.nodeAt[id] = append(s.nodes, node{id: id, life: host.Unknown}), i
	}
	return &s.nodes[i]
}

func (s *State) store(id resource.ID) (*datastore, int) {
	i, there := s.storeAt[id]
	if !there {
		i = len(s.stores)
		s.stores, s.storeAt[id] = append(s.stores, datastore{id: id}), i
	}
	return &s.stores[i], i
}

// reaches reports whether a host reaches a datastore.
func (s *State) reaches(n *node, id resource.ID) bool {
	at, there := s.storeAt[id]
	return there && s.stores[at].known && slices.Contains(n.stores, at)
}

// promise is space on a datastore that a request would take while it is looked at.
type promise struct {
	at  int
	mib int64
}

// inOrder is the order in which disks are given space: first those that have no choice, then the largest.
// The answer does not depend on the order in which they were asked for.
func inOrder(disks []Disk) []Disk {
	return slices.SortedStableFunc(slices.Values(disks), func(a, b Disk) int {
		if (a.DatastoreID == "") != (b.DatastoreID == "") {
			return cmp.Compare(b.DatastoreID, a.DatastoreID)
		}
		return cmp.Or(cmp.Compare(b.NewMiB, a.NewMiB), cmp.Compare(a.Name, b.Name))
	})
}

// spaceFor finds the datastores with the most free space that take the new disks of a request, which are
// inOrder, one after the other; -1 where one of them fits nowhere.
func (s *State) spaceFor(n *node, disks []Disk) (freeMiB int64) {
	var few [8]promise // so that a request of few disks makes nothing
	taken := few[:0]
	for _, d := range disks {
		if d.NewMiB == 0 {
			continue
		}
		best := -1
		var bestFree int64 = -1
		for _, at := range n.stores {
			st := s.stores[at]
			if d.DatastoreID != "" && st.id != d.DatastoreID {
				continue
			}
			for _, p := range taken {
				if p.at == at {
					st.promisedMiB += p.mib
				}
			}
			if st.takes(d.NewMiB) && st.freeMiB > bestFree {
				best, bestFree = at, st.freeMiB
			}
		}
		if best < 0 {
			return -1
		}
		taken = append(taken, promise{best, d.NewMiB})
		freeMiB = max(freeMiB, bestFree)
	}
	return freeMiB
}
