package compute

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/observe"
)

// Seen say of VMs who takes the processors away from them: their hosts are asked.
func Seen(dial func(ctx context.Context, hostID resource.ID) (net.Conn, error)) observe.Seen {
	ask := Asker{Dial: dial, People: true}
	return observe.Seen{VMs.Kind: func(ctx context.Context, snap *store.Snapshot, x resource.Object, as resource.Sight) []string {
		vm := x.(*VM)
		i := Find(snap, vm)
		if i == nil || dial == nil {
			return nil
		}
		told, err := ask.Host(ctx, i.Spec.HostID)
		if err != nil {
			return nil // why its host does not answer is said elsewhere
		}
		names := map[resource.ID]string{}
		for _, other := range store.Referring(snap, Instances, i.Spec.HostID) {
			names[other.ID] = other.Spec.VMName
		}
		return contention(i, told, names, as == resource.Operator)
	}}
}

// namedTakers is how many VMs are named that take processors away.
const namedTakers = 3

// contention says why a VM gets less of its host's processors than it demands, and what to do: its own limit, or
// others. An operator is told the names of these, anybody else how many they are.
func contention(i *Instance, told HostFigures, names map[resource.ID]string, operator bool) []string {
	own, there := told.Guests[i.ID]
	if !there {
		return nil
	}
	name := i.Spec.VMName
	if limit := i.Spec.CPULimitMHz; limit > 0 && own.CPUUsedMHz >= limit*95/100 {
		return []string{fmt.Sprintf("it uses %d MHz of processors, all that its limit of %d MHz lets it have; to raise that: virga vm resize %s --cpu-limit MHZ", own.CPUUsedMHz, limit, name)}
	}
	if !told.CPUShort || own.CPUUsedMHz >= own.CPUDemandMHz*95/100 {
		return nil
	}
	type taker struct {
		name string
		mhz  int64
	}
	var takers []taker
	var all int64
	for id, f := range told.Guests {
		if id != i.ID && f.CPUUsedMHz > 0 {
			takers = append(takers, taker{names[id], f.CPUUsedMHz})
			all += f.CPUUsedMHz
		}
	}
	slices.SortFunc(takers, func(a, b taker) int { return cmp.Or(cmp.Compare(b.mhz, a.mhz), cmp.Compare(a.name, b.name)) })
	others := fmt.Sprintf("%d other VMs on its host use %d MHz", len(takers), all)
	remedy := "its owner can give it more shares (virga vm resize " + name + " --cpu-shares N), an operator can move it"
	if operator {
		var named []string
		for _, t := range takers[:min(namedTakers, len(takers))] {
			named = append(named, fmt.Sprintf("%s uses %d MHz", t.name, t.mhz))
		}
		if rest := len(takers) - len(named); rest > 0 {
			named = append(named, fmt.Sprintf("%d others use the rest of %d MHz", rest, all))
		}
		others = "VM " + strings.Join(named, ", ")
		remedy = fmt.Sprintf("more shares (virga vm resize %s --cpu-shares N), a reservation, or another host (virga vm migrate %s) help", name, name)
	}
	if outside := told.CPUUsedMHz - all - own.CPUUsedMHz; len(takers) == 0 || outside > all {
		others = fmt.Sprintf("what runs on the host beside VMs uses %d MHz", max(0, outside))
	}
	return []string{fmt.Sprintf("processors are short on its host: it demands %d MHz, is entitled to %d and uses %d, and its threads wait %s; %s; %s",
		own.CPUDemandMHz, own.CPUEntitledMHz, own.CPUUsedMHz, waits(own.CPUReadyMillis), others, remedy)}
}

func waits(millis int64) string {
	if millis < 0 {
		return "for a time that is being measured"
	}
	return fmt.Sprintf("%d ms of each second", millis)
}
