package onhost

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
)

// wantedDevice is a disk or NIC of an instance's record.
type wantedDevice struct {
	kind compute.DeviceKind
	id   resource.ID
	// ready: what is behind it is open on this host. Why says what it waits for, where somebody knows.
	ready bool
	why   string
}

// deviceVerb is one thing to do to a device.
type deviceVerb string

const (
	attach deviceVerb = "attach"
	detach deviceVerb = "detach" // ask for it, or close what is left of it
)

// deviceAct is a verb and its device.
type deviceAct struct {
	verb deviceVerb
	kind compute.DeviceKind
	id   resource.ID
}

// devicePlan is what to do so that a guest has the devices of its record.
type devicePlan struct {
	acts []deviceAct
	// settled: it has them, and no others, and none is on its way.
	settled bool
	// problem says in words what stands in the way.
	problem string
}

// planDevices compares what is wanted with what the guest has. Who was asked for a device and does not give it
// up is asked again, every ten seconds.
func planDevices(wanted []wantedDevice, have []Plugged, now time.Time) devicePlan {
	p := devicePlan{settled: true}
	var problems []string
	for _, h := range have {
		if i := slices.IndexFunc(wanted, h.is); i >= 0 {
			continue
		}
		p.settled = false
		problems = append(problems, clings(h)...)
		hasTime := h.State == PluggedLeaving && !h.AskedAt.After(now) && now.Before(h.AskedAt.Add(time.Duration(h.Asks)*askWait))
		if !hasTime { // a clock that was set back gives nobody hours
			p.acts = append(p.acts, deviceAct{detach, h.Kind, h.ID})
		}
	}
	for _, w := range wanted {
		i := slices.IndexFunc(have, func(h Plugged) bool { return h.is(w) })
		if i >= 0 && have[i].State == PluggedWhole {
			continue
		}
		p.settled = false // one that is leaving may yet go, and comes back then
		switch {
		case i >= 0 && have[i].State == PluggedLeaving:
		case w.ready:
			p.acts = append(p.acts, deviceAct{attach, w.kind, w.id})
		case w.why != "":
			problems = append(problems, fmt.Sprintf("%s %s cannot be attached yet: %s", w.kind, w.id, w.why))
		}
	}
	p.problem = strings.Join(problems, "; ")
	return p
}

func (p Plugged) is(w wantedDevice) bool { return p.Kind == w.kind && p.ID == w.id }

// clings says that a guest does not give a device up, once it has had the time to.
func clings(h Plugged) []string {
	if h.State != PluggedLeaving || h.Asks < 2 {
		return nil
	}
	return []string{fmt.Sprintf("the guest was asked at %s to give up %s %s and has not: see what uses it inside, or stop the VM",
		h.AskedAt.UTC().Format(time.RFC3339), h.Kind, h.ID)}
}

// deviceStates is what a guest has in the words of its status, with what is about to be plugged in: a device
// is in the status before it is in the guest.
func deviceStates(wanted []wantedDevice, have []Plugged, acts []deviceAct) []compute.InstanceDevice {
	var out []compute.InstanceDevice
	for _, h := range have {
		state := compute.DeviceAttached
		switch {
		case !slices.ContainsFunc(wanted, h.is):
			state = compute.DeviceDetaching
		case h.State == PluggedHalf:
			state = compute.DeviceAttaching
		}
		out = append(out, compute.InstanceDevice{Kind: h.Kind, ID: h.ID, State: state})
	}
	for _, a := range acts {
		there := func(h Plugged) bool { return h.Kind == a.kind && h.ID == a.id }
		if a.verb == attach && !slices.ContainsFunc(have, there) {
			out = append(out, compute.InstanceDevice{Kind: a.kind, ID: a.id, State: compute.DeviceAttaching})
		}
	}
	return out
}
