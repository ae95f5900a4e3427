package qemu

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

var _ onhost.CPUGrower = (*Driver)(nil)

// processors is how many virtual CPUs the guest booted with, and how many there is a place for. All are cores of
// one socket, in the order of their numbers.
func processors(m onhost.VMConfig) string {
	if m.MaxCPUs == 0 {
		return fmt.Sprint(m.CPUs)
	}
	return fmt.Sprintf("%d,maxcpus=%d,sockets=1,cores=%d,threads=1", m.BootCPUs, m.MaxCPUs, m.MaxCPUs)
}

// givenCPUs are those that the guest was given after it booted, where it came from. They are not counted by -smp:
// QEMU makes as many queues for disks as it says, and a guest that arrives must find those that it knows.
func (a *arguments) givenCPUs(m onhost.VMConfig) {
	if m.MaxCPUs == 0 {
		return
	}
	model, _, _ := strings.Cut(processor(m), ",")
	for n := m.BootCPUs; n < m.CPUs; n++ {
		a.add("-device", fmt.Sprintf("%s-x86_64-cpu,id=%s,socket-id=0,core-id=%d,thread-id=0", model, cpuName(n), n))
	}
}

func cpuName[N int | int64](n N) string { return fmt.Sprintf("cpu%d", n) }

// cpuPlace is where a virtual CPU is, or can be plugged in.
type cpuPlace struct {
	Type  string         `json:"type"`
	Path  string         `json:"qom-path"` // empty: nobody is there
	Props map[string]any `json:"props"`
}

func (p cpuPlace) core() float64 {
	n, _ := p.Props["core-id"].(float64)
	return n
}

// GrowCPUs implements onhost.CPUGrower. Die in between: the next look goes on from what is there.
func (d *Driver) GrowCPUs(ctx context.Context, id resource.ID, cpus int64) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	var places []cpuPlace
	if err := g.do(ctx, "query-hotpluggable-cpus", nil, &places); err != nil {
		return fault.Wrap(err, "look at the virtual CPUs")
	}
	if int64(len(places)) < cpus {
		return fault.New(fault.Precondition, "instance %s was started for %d virtual CPUs at most", id, len(places))
	}
	slices.SortFunc(places, func(a, b cpuPlace) int { return int(a.core() - b.core()) })
	grew := false
	for n, p := range places[:cpus] {
		if p.Path != "" {
			continue
		}
		device := map[string]any{"driver": p.Type, "id": cpuName(n)}
		for name, value := range p.Props {
			if name != "node-id" { // it follows from its place
				device[name] = value
			}
		}
		if err := g.do(ctx, "device_add", device, nil); err != nil {
			return fault.Wrap(err, "add virtual CPU %d", n)
		}
		grew = true
	}
	if !grew {
		return nil
	}
	return g.pin(ctx)
}
