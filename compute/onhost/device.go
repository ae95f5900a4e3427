package onhost

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// deviceRounds is how often the devices of a guest are looked at in one step: what was behind a device is closed
// in a second round.
const deviceRounds = 3

// looked is what a step has found out about a guest besides its state.
type looked struct {
	// devices of the guest, as they were for this generation of the record; 0: nobody looked.
	devices    []compute.InstanceDevice
	generation int64
	// trouble is what could not be done, and is tried again; busy: somebody has to look again soon.
	trouble error
	busy    bool
}

// devices gives the guest the disks and NICs of its record, and takes others away: what is plugged in is in
// the status first, so that whoever reads there that a device is gone may take away what is behind it. A guest
// that moves is left alone. If we die in between, the next one finds what the guest has, also by half.
func (k *Supervisor) devices(ctx context.Context, i *compute.Instance, g Guest) (*compute.Instance, looked, error) {
	p, can := k.hv.(Plugger)
	open := g.State == Running || g.State == Paused
	if !can || !open || i.Spec.Outgoing != nil || g.Transfer.State == TransferActive || k.settled(i) {
		return i, looked{}, nil
	}
	var out looked
	for range deviceRounds {
		have, err := p.Plugged(ctx, i.ID)
		if err != nil {
			return i, looked{trouble: fault.Wrap(err, "look at the devices"), busy: true}, nil
		}
		s := k.sources(i)
		wanted := s.wanted(i, k.db.Now())
		plan := planDevices(wanted, have, k.db.Now())
		out = looked{devices: deviceStates(wanted, have, plan.acts), generation: i.Generation, busy: !plan.settled}
		if plan.problem != "" {
			out.trouble = fault.New(fault.Precondition, "%s", plan.problem)
		}
		if plan.settled {
			k.settle(i)
		}
		if len(plan.acts) == 0 {
			return i, out, nil
		}
		if i, err = k.announce(ctx, i, out); err != nil || i == nil {
			return nil, looked{}, err
		}
		if met := k.carryOutDevices(ctx, p, i, s, plan.acts); met != nil {
			out.trouble = together(out.trouble, met)
			return i, out, nil
		}
	}
	return i, out, nil
}

// announce writes which devices the guest is about to have. It gives the record as it is then, or nothing
// when that has changed meanwhile: another step begins with the new one.
func (k *Supervisor) announce(ctx context.Context, i *compute.Instance, l looked) (*compute.Instance, error) {
	unsaid := func(d compute.InstanceDevice) bool {
		return !slices.ContainsFunc(i.Status.Devices, func(s compute.InstanceDevice) bool { return s.Kind == d.Kind && s.ID == d.ID })
	}
	if !slices.ContainsFunc(l.devices, unsaid) {
		return i, nil
	}
	if err := k.set(ctx, i, l.write); err != nil {
		return nil, err
	}
	now := store.Find(k.db.Snapshot(), compute.Instances, i.ID)
	if now == nil || now.Generation != i.Generation {
		return nil, nil
	}
	return now, nil
}

// write puts what was seen into a status.
func (l looked) write(s *compute.InstanceStatus) {
	if l.generation != 0 {
		s.Devices, s.DevicesGeneration = l.devices, l.generation
	}
}

// deviceSources are what is behind the devices of an instance on this host.
type deviceSources struct {
	attachments []*storage.Attachment
	bindings    []*network.PortBinding
	datapath    host.Datapath
}

func (k *Supervisor) sources(i *compute.Instance) deviceSources {
	snap := k.db.Snapshot()
	return deviceSources{store.Referring(snap, storage.Attachments, i.ID), store.Referring(snap, network.PortBindings, i.ID), k.o.Profile().Datapath}
}

// wanted are the devices of the record. That one waits for what is young is no news.
func (s deviceSources) wanted(i *compute.Instance, now time.Time) []wantedDevice {
	var out []wantedDevice
	for _, d := range i.Spec.Disks {
		_, why := compileDisk(d, s.attachments)
		a := byID(s.attachments, d.AttachmentID)
		out = append(out, wantedDevice{compute.DiskDevice, d.VolumeID, why == "", news(why, a == nil || a.Young(now))})
	}
	for _, n := range i.Spec.NICs {
		_, why := compileNIC(n, s.bindings, s.datapath)
		p := byID(s.bindings, n.PortBindingID)
		out = append(out, wantedDevice{compute.NICDevice, n.PortID, why == "", news(why, p == nil || p.Young(now))})
	}
	return out
}

func news(why string, young bool) string {
	if young {
		return ""
	}
	return why
}

// carryOutDevices does what was planned; one that fails does not keep the others.
func (k *Supervisor) carryOutDevices(ctx context.Context, p Plugger, i *compute.Instance, s deviceSources, acts []deviceAct) error {
	var met []error
	for _, a := range acts {
		var err error
		switch {
		case a.verb == detach:
			err = p.Detach(ctx, i.ID, a.kind, a.id)
		case a.kind == compute.DiskDevice:
			at := slices.IndexFunc(i.Spec.Disks, func(d compute.InstanceDisk) bool { return d.VolumeID == a.id })
			d, _ := compileDisk(i.Spec.Disks[at], s.attachments)
			err = p.AttachDisk(ctx, i.ID, d)
		default:
			at := slices.IndexFunc(i.Spec.NICs, func(n compute.InstanceNIC) bool { return n.PortID == a.id })
			n, _ := compileNIC(i.Spec.NICs[at], s.bindings, s.datapath)
			err = p.AttachNIC(ctx, i.ID, n)
		}
		met = append(met, fault.Wrap(err, "%s %s %s", a.verb, a.kind, a.id))
	}
	return together(met...)
}

// together is one error of several, in one line, of the first one's kind.
func together(errs ...error) error {
	var words []string
	kind := fault.Kind("")
	for _, err := range errs {
		if err != nil {
			words, kind = append(words, err.Error()), cmp.Or(kind, fault.KindOf(err))
		}
	}
	if len(words) == 0 {
		return nil
	}
	return fault.New(kind, "%s", strings.Join(words, "; "))
}

// settled reports whether the guest was seen with the devices of this generation of its record.
func (k *Supervisor) settled(i *compute.Instance) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.devicesFit[i.ID] == i.Generation && i.Status.DevicesGeneration == i.Generation
}

func (k *Supervisor) settle(i *compute.Instance) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.devicesFit[i.ID] = i.Generation
}
