package placement

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
)

// seldom is true once in ten times: a cloud in which most is well finds more than one in which nothing is.
func seldom(t *rapid.T, what string) bool { return rapid.IntRange(0, 9).Draw(t, what) == 9 }

// anyHost is a host in any condition, most often a good one.
func anyHost(t *rapid.T, i int) node {
	n := node{id: resource.ID(fmt.Sprintf("%05d", i)), name: fmt.Sprintf("h%d", i), known: !seldom(t, "unknown"), removed: seldom(t, "removed"),
		mode: host.Active, life: host.Alive, machineType: "pc-q35-7.2"}
	if seldom(t, "maintenance") {
		n.mode = host.Maintenance
	}
	if seldom(t, "dead") {
		n.life = rapid.SampledFrom([]host.LifeState{host.Lost, host.Unknown}).Draw(t, "life")
	}
	if seldom(t, "other QEMU") {
		n.machineType = rapid.SampledFrom([]string{"pc-q35-10.0", ""}).Draw(t, "QEMU")
	}
	n.version = machineVersion(n.machineType)
	n.total = Demand{CPUs: rapid.SampledFrom([]int64{8, 8, 4, 0}).Draw(t, "vCPUs"), MemoryMiB: rapid.SampledFrom([]int64{8192, 8192, 4096, -1}).Draw(t, "MiB")}
	if rapid.Bool().Draw(t, "two nodes") {
		twoNodes(&n)
	}
	return n
}

// anyCloud is a state of any hosts, with claims on them and datastores that some of them reach.
func anyCloud(t *rapid.T) *State {
	s := newState()
	for i := range rapid.IntRange(0, 5).Draw(t, "hosts") {
		n := s.node(resource.ID(fmt.Sprintf("%05d", i)))
		*n = anyHost(t, i)
		if rapid.IntRange(0, 2).Draw(t, "claimed") == 0 {
			d := Demand{CPUs: rapid.Int64Range(0, 9).Draw(t, "claimed vCPUs"), MemoryMiB: rapid.Int64Range(0, 9000).Draw(t, "claimed MiB")}
			s.Claim(n.id, d, []host.NUMAPart{{Node: rapid.IntRange(0, 1).Draw(t, "node"), CPUs: d.CPUs / 2, MemoryMiB: d.MemoryMiB / 2}})
		}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "datastores") {
		d, at := s.store(resource.ID(fmt.Sprintf("d%d", i)))
		d.name = string(d.id)
		d.known, d.ready = !seldom(t, "unknown"), !seldom(t, "not ready")
		d.capacityMiB, d.freeMiB = 100, rapid.SampledFrom([]int64{90, 70, 70, 4}).Draw(t, "free")
		d.promisedMiB = rapid.SampledFrom([]int64{0, 0, 30, 150, 210}).Draw(t, "promised")
		for h := range s.nodes {
			if !seldom(t, "out of reach") {
				s.nodes[h].stores = append(s.nodes[h].stores, at)
			}
		}
	}
	if len(s.nodes) > 0 {
		s.nextNode = rapid.IntRange(0, len(s.nodes)-1).Draw(t, "begin")
	}
	return s
}

// anyRequest asks for what an anyCloud may have.
func anyRequest(t *rapid.T) *Request {
	r := want(rapid.Int64Range(1, 6).Draw(t, "need"), rapid.SampledFrom([]int64{512, 1024, 3000, 5000}).Draw(t, "need MiB"))
	r.NUMA = rapid.SampledFrom([]numa.Policy{"", numa.None, numa.Preferred, numa.Required}).Draw(t, "policy")
	r.MachineType = rapid.SampledFrom([]string{"", "pc-q35-7.2", "pc-q35-7.2", "pc-q35-10.0"}).Draw(t, "machine")
	if seldom(t, "pinned") {
		r.OnHost = resource.ID(fmt.Sprintf("%05d", rapid.IntRange(0, 5).Draw(t, "to")))
	}
	for i := range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "excluded") {
		r.NotOn = append(r.NotOn, resource.ID(fmt.Sprintf("%05d", rapid.IntRange(0, 5).Draw(t, fmt.Sprint("not on ", i)))))
	}
	for i := range rapid.SampledFrom([]int{0, 1, 2, 6, 12}).Draw(t, "disks") {
		d := Disk{Name: fmt.Sprintf("disk%d", i), NewMiB: rapid.SampledFrom([]int64{0, 10, 20, 20, 40}).Draw(t, "new")}
		if d.NewMiB == 0 || rapid.IntRange(0, 3).Draw(t, "no choice") == 0 {
			d.DatastoreID = resource.ID(fmt.Sprintf("d%d", rapid.IntRange(0, 2).Draw(t, "lies on")))
		}
		r.Disks = append(r.Disks, d)
	}
	return r
}

// shuffled is the same cloud, heard of in another order.
func shuffled(s *State, seed int) *State {
	random := rand.New(rand.NewSource(int64(seed)))
	out, moved := newState(), make([]int, len(s.stores))
	for _, i := range random.Perm(len(s.stores)) {
		d, at := out.store(s.stores[i].id)
		*d, moved[i] = s.stores[i], at
	}
	for _, i := range random.Perm(len(s.nodes)) {
		n := out.node(s.nodes[i].id)
		*n = s.nodes[i]
		n.stores = nil
		for _, k := range random.Perm(len(s.nodes[i].stores)) {
			n.stores = append(n.stores, moved[s.nodes[i].stores[k]])
		}
	}
	return out
}

// answer is what a state says, in words.
func answer(s *State, r *Request) string {
	c, err := s.Clone().Choose(r)
	if err != nil {
		return fmt.Sprint(fault.KindOf(err), " ", err, " / ", fault.KindOf(err))
	}
	return fmt.Sprintf("%+v", c)
}

func TestTheOrderInWhichThingsAreHeardOfChangesNoAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, r, seed := anyCloud(t), anyRequest(t), rapid.IntRange(0, 1000).Draw(t, "seed")
		other := *r
		other.Disks, other.NotOn = slices.Clone(r.Disks), slices.Clone(r.NotOn)
		rand.New(rand.NewSource(int64(seed))).Shuffle(len(r.Disks), func(i, k int) { other.Disks[i], other.Disks[k] = other.Disks[k], other.Disks[i] })
		slices.Reverse(other.NotOn)
		asked := slices.Clone(other.Disks)
		if first, second := answer(s, r), answer(shuffled(s, seed), &other); first != second {
			t.Fatalf("one order: %s\nanother: %s", first, second)
		}
		if !slices.Equal(asked, other.Disks) {
			t.Fatal("the request was changed")
		}
	})
}

func TestMoreHostsAndSmallerRequestsAreNeverRefusedMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, r := anyCloud(t), anyRequest(t)
		_, err := s.Clone().Choose(r)
		more := s.Clone()
		n := more.node("99999")
		*n = anyHost(t, 99999)
		n.id = "99999"
		if _, refused := more.Choose(r); err == nil && refused != nil {
			t.Fatalf("with another host it is refused: %v", refused)
		}
		for name, ease := range map[string]func(*Request){
			"fewer vCPUs":         func(r *Request) { r.CPUs = max(1, r.CPUs-1) },
			"less memory":         func(r *Request) { r.MemoryMiB /= 2 },
			"no exclusions":       func(r *Request) { r.NotOn = nil },
			"no pin":              func(r *Request) { r.OnHost = "" },
			"any machine type":    func(r *Request) { r.MachineType = "" },
			"no wish to be bound": func(r *Request) { r.NUMA = numa.Preferred },
			"no disks":            func(r *Request) { r.Disks = nil },
		} {
			easier := *r
			ease(&easier)
			if _, refused := s.Clone().Choose(&easier); err == nil && refused != nil {
				t.Fatalf("with %s it is refused: %v", name, refused)
			}
		}
	})
}

// fitsSomehow tries every way to give the disks datastores.
func fitsSomehow(s *State, n *node, disks []Disk) bool {
	if len(disks) == 0 {
		return true
	}
	d := disks[0]
	for _, at := range n.stores {
		st := &s.stores[at]
		if d.DatastoreID != "" && st.id != d.DatastoreID || d.NewMiB > 0 && !st.takes(d.NewMiB) || !st.known {
			continue
		}
		st.promisedMiB += d.NewMiB
		ok := fitsSomehow(s, n, disks[1:])
		if st.promisedMiB -= d.NewMiB; ok {
			return true
		}
	}
	return false
}

func TestAPromiseOfPlacementCanBeKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, r := anyCloud(t), anyRequest(t)
		c, err := s.Choose(r)
		if err != nil {
			return
		}
		n := s.node(c.HostID)
		if !fitsSomehow(s, n, r.Disks) {
			t.Fatalf("%s was chosen, and the disks %+v do not fit on %+v", c.Host, r.Disks, s.stores)
		}
		if len(s.nodes) > 0 && r.OnHost != "" && r.OnHost != c.HostID || slices.Contains(r.NotOn, c.HostID) {
			t.Fatalf("%s was chosen against the request", c.Host)
		}
		before := *n
		s.Claim(c.HostID, r.Demand, c.NUMA)
		if free := n.free(); free.CPUs < 0 || free.MemoryMiB < 0 {
			t.Fatalf("after the claim %+v is free", free)
		}
		var parts Demand
		for _, p := range c.NUMA {
			parts = parts.plus(Demand{CPUs: p.CPUs, MemoryMiB: p.MemoryMiB})
			at := slices.IndexFunc(n.cells, func(c numa.Cell) bool { return c.Node == p.Node })
			if at < 0 || n.bound[at].CPUs > n.cells[at].Total.CPUs || n.bound[at].MemoryMiB > n.cells[at].Total.MemoryMiB {
				t.Fatalf("%+v does not fit on the nodes of %s", c.NUMA, c.Host)
			}
		}
		if len(c.NUMA) > 0 && parts != r.Demand {
			t.Fatalf("%+v is not all of %+v", c.NUMA, r.Demand)
		}
		s.Free(c.HostID, r.Demand, c.NUMA)
		if n.claimed != before.claimed || !slices.Equal(n.bound, before.bound) {
			t.Fatalf("after it was given back %+v and %+v are claimed, before %+v and %+v", n.claimed, n.bound, before.claimed, before.bound)
		}
	})
}

// A refusal names each host once, with the first filter that it fails, and figures that are true.
func TestTheReasonsOfARefusalAreTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, r := anyCloud(t), anyRequest(t)
		_, err := s.Choose(r)
		if err == nil {
			return
		}
		ordered := *r
		ordered.Disks = inOrder(r.Disks)
		exhausted, looked := false, 0
		for i := range s.nodes {
			n := &s.nodes[i]
			if !n.known || r.OnHost != "" && r.OnHost != n.id {
				if strings.Contains(err.Error(), n.name+":") || strings.Contains(err.Error(), n.name+",") {
					t.Fatalf("%s has no say: %v", n.name, err)
				}
				continue
			}
			looked++
			f := s.refusing(n, &ordered)
			if f == nil {
				t.Fatalf("%s would do: %v", n.name, err)
			}
			exhausted = exhausted || f.Capacity != nil
			words := f.Why(s, n, &ordered)
			if !strings.Contains(err.Error(), words) || strings.Count(err.Error(), n.name+":")+strings.Count(err.Error(), n.name+",") != 1 {
				t.Fatalf("%s fails %s (%s), and is told: %v", n.name, f.Name, words, err)
			}
			if f.Capacity == nil {
				continue
			}
			need, _ := f.Needs(&ordered)
			if free, of := f.Capacity(n); of > 0 && free >= need {
				t.Fatalf("%s has %d free, and is refused because %d are needed: %v", n.name, free, need, err)
			}
		}
		switch {
		case looked == 0 && !fault.Is(err, fault.Unavailable), looked > 0 && exhausted && !fault.Is(err, fault.Exhausted),
			looked > 0 && !exhausted && !fault.Is(err, fault.Precondition):
			t.Fatalf("the kind is %s: %v", fault.KindOf(err), err)
		}
	})
}

func TestACloneOfAnyCloudIsItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyCloud(t)
		before := shown(s)
		c := s.Clone()
		for i := range c.nodes {
			c.Claim(c.nodes[i].id, Demand{CPUs: 1, MemoryMiB: 1}, []host.NUMAPart{{Node: 0, CPUs: 1, MemoryMiB: 1}})
			c.nodes[i].mode = host.Maintenance
		}
		for i := range c.stores {
			c.stores[i].promisedMiB++
		}
		_, _ = c.Choose(anyRequest(t))
		if after := shown(s); !reflect.DeepEqual(before, after) {
			t.Fatalf("before %v\nafter %v", before, after)
		}
	})
}
