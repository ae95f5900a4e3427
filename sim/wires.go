package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	networkon "github.com/virga-cloud/virga/network/onhost"
)

// wires are the ports on a host's virtual switch. A port forwards a little while after it was made.
type wires struct {
	c        *Cluster
	ports    map[resource.ID]*wire
	services map[resource.ID]bool
	made     int
}

type wire struct {
	networkon.Attached
	forwards time.Time
}

func newWires(c *Cluster) *wires {
	w := &wires{c: c}
	w.lose()
	return w
}

// lose forgets everything, as a switch does whose host is started again.
func (w *wires) lose() { w.ports, w.services = map[resource.ID]*wire{}, map[resource.ID]bool{} }

func (w *wires) ensure(p networkon.Port) networkon.Attached {
	there := w.ports[p.PortBindingID]
	if there == nil {
		w.made++
		there = &wire{Attached: networkon.Attached{PortBindingID: p.PortBindingID, PortID: p.PortID, Device: fmt.Sprintf("tap%d", w.made)},
			forwards: w.c.now.Add(w.c.between(0, 300*time.Millisecond))}
		w.ports[p.PortBindingID] = there
	}
	there.Ready = !w.c.now.Before(there.forwards)
	there.Why = ""
	if !there.Ready {
		there.Why = "the virtual network does not know it yet"
	}
	return there.Attached
}

func (w *wires) list() []networkon.Attached {
	var out []networkon.Attached
	for _, id := range slices.Sorted(maps.Keys(w.ports)) {
		out = append(out, w.ports[id].Attached)
	}
	return out
}

func sortedIDs(set map[resource.ID]bool) []resource.ID { return slices.Sorted(maps.Keys(set)) }
