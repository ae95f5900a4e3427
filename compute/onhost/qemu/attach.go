package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/qmp"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

var _ onhost.Plugger = (*Driver)(nil)

// parts is what QEMU has of a device: what the guest sees, and what is behind it.
type parts struct{ device, backend bool }

// Plugged implements onhost.Plugger.
func (d *Driver) Plugged(ctx context.Context, id resource.ID) ([]onhost.Plugged, error) {
	g, err := d.opened(ctx, id)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	there, err := g.parts(ctx)
	if err != nil {
		return nil, fault.Wrap(err, "look at the devices of instance %s", id)
	}
	return g.pluggedFrom(there), nil
}

// pluggedFrom reads names. Other devices than disks and NICs have names that say so.
func (g *guest) pluggedFrom(there map[string]parts) []onhost.Plugged {
	var out []onhost.Plugged
	for name, p := range there {
		kind, id, ok := deviceNamed(name)
		if !ok {
			continue
		}
		was := g.leaving[name]
		one := onhost.Plugged{Kind: kind, ID: id, State: onhost.PluggedHalf}
		switch {
		case p.device && was.asks > 0:
			one.State, one.AskedAt, one.Asks = onhost.PluggedLeaving, was.at, was.asks
		case p.device:
			one.State = onhost.PluggedWhole
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b onhost.Plugged) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	return out
}

// opened gives a guest, locked, whose QEMU has its devices in its hands. One whose guest moves does not.
func (d *Driver) opened(ctx context.Context, id resource.ID) (*guest, error) {
	g, err := d.known(id)
	if err != nil {
		return nil, err
	}
	seen, err := g.look(ctx)
	if err == nil && seen.State != onhost.Running && seen.State != onhost.Paused {
		err = fault.New(fault.Precondition, "instance %s does not have its devices open: it is %s", id, seen.State)
	}
	if err != nil {
		g.mu.Unlock()
		return nil, err
	}
	return g, nil
}

// parts asks QEMU for all devices, block nodes and network backends. The last have no list of their own in
// its protocol.
func (g *guest) parts(ctx context.Context) (map[string]parts, error) {
	var devices []struct {
		Name string `json:"name"`
	}
	if err := g.do(ctx, "qom-list", map[string]any{"path": "/machine/peripheral"}, &devices); err != nil {
		return nil, err
	}
	var nodes []struct {
		Name string `json:"node-name"`
	}
	if err := g.do(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &nodes); err != nil {
		return nil, err
	}
	var text string
	if err := g.do(ctx, "human-monitor-command", map[string]any{"command-line": "info network"}, &text); err != nil {
		return nil, err
	}
	out := map[string]parts{}
	for _, d := range devices {
		out[d.Name] = parts{device: true}
	}
	for _, n := range nodes {
		out[n.Name] = parts{device: out[n.Name].device, backend: true}
	}
	for _, name := range backendsIn(text) {
		out[name] = parts{device: out[name].device, backend: true}
	}
	return out, nil
}

// backendsIn reads the names of network backends in QEMU's words: "NAME: index=0,type=tap,…", below their NIC
// or alone.
func backendsIn(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		name, rest, ok := strings.Cut(strings.TrimLeft(line, ` \`), ": ")
		if ok && !strings.Contains(rest, "type=nic") {
			out = append(out, strings.TrimSpace(name))
		}
	}
	return out
}

// AttachDisk implements onhost.Plugger.
func (d *Driver) AttachDisk(ctx context.Context, id resource.ID, disk onhost.Disk) error {
	name := deviceName(compute.DiskDevice, disk.ID)
	err := d.attach(ctx, id, name, diskDevice(disk), func(g *guest) error {
		if disk.Queues > 0 {
			if err := g.openThread(ctx, disk); err != nil {
				return err
			}
		}
		return g.do(ctx, "blockdev-add", diskBackend(disk, direct(disk.Source.Path), d.aio), nil)
	})
	if err != nil {
		return err
	}
	return d.Limit(ctx, id, disk.ID, disk.Limits)
}

// AttachNIC implements onhost.Plugger.
func (d *Driver) AttachNIC(ctx context.Context, id resource.ID, n onhost.NIC) error {
	name := deviceName(compute.NICDevice, n.ID)
	return d.attach(ctx, id, name, nicDevice(n), func(g *guest) error {
		queues, err := openTap(n)
		if err != nil {
			return err
		}
		defer closeAll(queues)
		c, err := g.monitor(ctx)
		if err != nil {
			return err
		}
		var names []string
		for i, queue := range queues {
			names = append(names, fmt.Sprintf("%s-%d", name, i))
			if err := g.explain(c.SendFile(ctx, names[i], queue)); err != nil {
				return err
			}
		}
		return g.do(ctx, "netdev_add", map[string]any{"type": "tap", "id": name, fdWord(n): strings.Join(names, ":")}, nil)
	})
}

// openThread makes the thread of a disk, unless a try before has.
func (g *guest) openThread(ctx context.Context, disk onhost.Disk) error {
	if err := g.closeThread(ctx, deviceName(compute.DiskDevice, disk.ID)); err != nil {
		return err
	}
	return g.do(ctx, "object-add", diskThread(disk), nil)
}

// closeThread ends the thread of a disk that has one.
func (g *guest) closeThread(ctx context.Context, disk string) error {
	var all []struct {
		ID string `json:"id"`
	}
	if err := g.do(ctx, "query-iothreads", nil, &all); err != nil {
		return err
	}
	for _, t := range all {
		if t.ID == "thread-"+disk {
			return fault.Wrap(g.do(ctx, "object-del", map[string]any{"id": t.ID}, nil), "end the thread of %s", disk)
		}
	}
	return nil
}

// attach makes what is behind a device, and then the device. Die in between: the first is found, and either
// used or closed. A NIC's is made anew: its tap may be another one since.
func (d *Driver) attach(ctx context.Context, id resource.ID, name string, device map[string]any, back func(*guest) error) error {
	g, err := d.opened(ctx, id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	there, err := g.parts(ctx)
	if err != nil || there[name].device {
		return fault.Wrap(err, "attach %s", name)
	}
	if there[name].backend && strings.HasPrefix(name, string(compute.NICDevice)) {
		if err := g.closeBackend(ctx, name); err != nil {
			return err
		}
		there[name] = parts{}
	}
	if !there[name].backend {
		if err := back(g); err != nil {
			return fault.Wrap(err, "open what is behind %s", name)
		}
	}
	delete(g.leaving, name)
	return fault.Wrap(g.do(ctx, "device_add", device, nil), "attach %s", name)
}

// Detach implements onhost.Plugger.
func (d *Driver) Detach(ctx context.Context, id resource.ID, kind compute.DeviceKind, deviceID resource.ID) error {
	g, err := d.opened(ctx, id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	there, err := g.parts(ctx)
	if err != nil {
		return err
	}
	name := deviceName(kind, deviceID)
	switch {
	case there[name].device:
		return g.askFor(ctx, name)
	case there[name].backend:
		delete(g.leaving, name)
		return g.closeBackend(ctx, name)
	}
	delete(g.leaving, name)
	return nil
}

// asked is since when, and how often, a guest was asked for a device.
type asked struct {
	at   time.Time
	asks int
}

// askFor asks the guest to give a device up. QEMU tells by an event when it has.
func (g *guest) askFor(ctx context.Context, name string) error {
	err := g.do(ctx, "device_del", map[string]any{"id": name}, nil)
	said, _ := errors.AsType[*qmp.Error](err)
	switch {
	case said != nil && said.Class == "DeviceNotFound":
		return nil // just now
	case said != nil && strings.Contains(said.Desc, "already in the process of unplug"):
		// an earlier daemon asked, or we did a moment ago
	case err != nil:
		return fault.Wrap(err, "detach %s", name)
	}
	if g.leaving == nil {
		g.leaving = map[string]asked{}
	}
	a := g.leaving[name]
	if a.asks == 0 {
		a.at = g.d.cfg.Now().UTC()
	}
	a.asks++
	g.leaving[name] = a
	return nil
}

func (g *guest) closeBackend(ctx context.Context, name string) error {
	if strings.HasPrefix(name, string(compute.NICDevice)) {
		return fault.Wrap(g.do(ctx, "netdev_del", map[string]any{"id": name}, nil), "close what was behind %s", name)
	}
	err := g.do(ctx, "blockdev-del", map[string]any{"node-name": name}, nil)
	if said, _ := errors.AsType[*qmp.Error](err); said != nil && strings.HasSuffix(said.Desc, "is in use") {
		return nil // what the guest saw of it is not quite gone yet: it is half there until somebody asks again
	}
	if err != nil {
		return fault.Wrap(err, "close what was behind %s", name)
	}
	return g.closeThread(ctx, name)
}
