package onhost

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
)

// wantedFrom reads "disk a, nic n?": one with a question mark waits for what is behind it.
func wantedFrom(text string) []wantedDevice {
	var out []wantedDevice
	for _, f := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		kind, id, _ := strings.Cut(strings.TrimSpace(f), " ")
		w := wantedDevice{kind: compute.DeviceKind(kind), id: resource.ID(strings.TrimSuffix(id, "?")), ready: !strings.HasSuffix(id, "?")}
		if !w.ready {
			w.why = "it is not open"
		}
		out = append(out, w)
	}
	return out
}

// haveFrom reads "disk a, nic n half, disk b leaving 1 3s": asked once, first 3 s ago.
func haveFrom(text string) []Plugged {
	var out []Plugged
	for _, f := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		p, ago, state := Plugged{State: PluggedWhole}, "", ""
		_, _ = fmt.Sscan(f, &p.Kind, &p.ID, &state, &p.Asks, &ago)
		if state != "" {
			p.State = PluggedState(state)
		}
		if d, err := time.ParseDuration(ago); err == nil {
			p.AskedAt = noon.Add(-d)
		}
		out = append(out, p)
	}
	return out
}

func TestDevicesAreAttachedAndDetachedByWhatTheGuestHas(t *testing.T) {
	for name, c := range map[string]struct {
		wanted, have, acts string
		settled            bool
		problem            string
	}{
		"nothing at all":                              {"", "", "", true, ""},
		"all as wanted":                               {"disk a, nic n", "nic n, disk a", "", true, ""},
		"one comes":                                   {"disk a, disk b", "disk a", "attach disk b", false, ""},
		"one comes that is not open yet":              {"disk a, disk b?", "disk a", "", false, "disk b cannot be attached yet: it is not open"},
		"one does not keep another":                   {"disk b?, nic n", "", "attach nic n", false, "disk b cannot"},
		"one goes":                                    {"disk a", "disk a, nic n", "detach nic n", false, ""},
		"a port is no volume":                         {"nic a", "disk a", "detach disk a, attach nic a", false, ""},
		"one was begun":                               {"disk a", "disk a half", "attach disk a", false, ""},
		"one was begun and is not open any more":      {"disk a?", "disk a half", "", false, "disk a cannot"},
		"one was given up, and lies open":             {"", "disk a half", "detach disk a", false, ""},
		"one was asked for just now":                  {"", "disk a leaving 1 3s", "", false, ""},
		"one was asked for and does not go":           {"", "disk a leaving 1 11s", "detach disk a", false, ""},
		"one was asked for twice":                     {"", "disk a leaving 2 11s", "", false, "asked at 2026-01-02T11:59:49Z to give up disk a and has not"},
		"one is asked for a third time":               {"", "disk a leaving 2 21s", "detach disk a", false, "asked at"},
		"the clock was set back":                      {"", "disk a leaving 1 -3h", "detach disk a", false, ""},
		"one that is leaving is wanted again":         {"disk a", "disk a leaving 2 11s", "", false, ""},
		"two change places":                           {"disk b, nic n", "disk a, nic n", "detach disk a, attach disk b", false, ""},
		"what nobody has heard of goes":               {"disk a", "disk a, disk x, nic y half", "detach disk x, detach nic y", false, ""},
		"two that cling are both named in one line":   {"", "disk a leaving 2 11s, nic n leaving 3 25s", "", false, "give up disk a and has not: see what uses it inside, or stop the VM; the guest was asked at 2026-01-02T11:59:35Z to give up nic n"},
		"who clings does not keep others from coming": {"disk b", "disk a leaving 2 11s", "attach disk b", false, "give up disk a"},
	} {
		p := planDevices(wantedFrom(c.wanted), haveFrom(c.have), noon)
		var acts []string
		for _, a := range p.acts {
			acts = append(acts, fmt.Sprintf("%s %s %s", a.verb, a.kind, a.id))
		}
		if got := strings.Join(acts, ", "); got != c.acts || p.settled != c.settled || !strings.Contains(p.problem, c.problem) || (c.problem == "") != (p.problem == "") || strings.Contains(p.problem, "\n") {
			t.Errorf("%s: acts %q, settled %v, problem %q", name, got, p.settled, p.problem)
		}
	}
}

func TestADeviceIsInTheStatusBeforeTheGuestHasIt(t *testing.T) {
	for name, c := range map[string]struct{ wanted, have, states string }{
		"nothing":         {"", "", ""},
		"all as wanted":   {"disk a, nic n", "disk a, nic n", "disk a attached, nic n attached"},
		"one comes":       {"disk a, disk b", "disk a", "disk a attached, disk b attaching"},
		"one waits":       {"disk a?", "", ""},
		"one was begun":   {"disk a", "disk a half", "disk a attaching"},
		"one goes":        {"", "disk a", "disk a detaching"},
		"one lies open":   {"", "disk a half", "disk a detaching"},
		"one is asked":    {"", "disk a leaving 1 1s", "disk a detaching"},
		"one stays after": {"disk a", "disk a leaving 1 1s", "disk a attached"},
	} {
		wanted, have := wantedFrom(c.wanted), haveFrom(c.have)
		var got []string
		for _, d := range deviceStates(wanted, have, planDevices(wanted, have, noon).acts) {
			got = append(got, fmt.Sprintf("%s %s %s", d.Kind, d.ID, d.State))
		}
		if text := strings.Join(got, ", "); text != c.states {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// Whatever there is: what the guest has, and what is given to it, is in the status; what is wanted and whole is
// left alone; and where the acts succeed there is nothing to do any more.
func TestAPlanOfDevicesLeadsToWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wanted []wantedDevice
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 0, 10, rapid.ID).Draw(t, "wanted") {
			wanted = append(wanted, wantedDevice{kind: compute.DiskDevice, id: resource.ID(fmt.Sprint(n)), ready: true})
		}
		have := map[resource.ID]Plugged{}
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 0, 10, rapid.ID).Draw(t, "have") {
			p := Plugged{Kind: compute.DiskDevice, ID: resource.ID(fmt.Sprint(n)), State: rapid.SampledFrom([]PluggedState{PluggedWhole, PluggedHalf, PluggedLeaving}).Draw(t, "state")}
			if p.State == PluggedLeaving {
				p.Asks, p.AskedAt = 1, noon.Add(-time.Duration(rapid.IntRange(0, 20).Draw(t, "ago"))*time.Second)
			}
			have[p.ID] = p
		}
		now := noon
		for round := 0; ; round++ {
			var all []Plugged
			for _, p := range have {
				all = append(all, p)
			}
			p := planDevices(wanted, all, now)
			said := map[resource.ID]bool{}
			for _, d := range deviceStates(wanted, all, p.acts) {
				said[d.ID] = true
			}
			for _, h := range all {
				if !said[h.ID] {
					t.Fatalf("the guest has %+v, and its status does not say so", h)
				}
			}
			if p.settled {
				if len(p.acts) != 0 || len(all) != len(wanted) {
					t.Fatalf("settled with %+v, wanted %+v, acts %+v", all, wanted, p.acts)
				}
				return
			}
			if round > 5 {
				t.Fatalf("after %d rounds it has %+v, wanted %+v", round, all, wanted)
			}
			for _, a := range p.acts {
				h, there := have[a.id]
				switch {
				case a.verb == attach && !said[a.id]:
					t.Fatalf("%s is attached, and its status does not say so", a.id)
				case a.verb == attach && there && h.State != PluggedHalf:
					t.Fatalf("%+v is attached once more", h)
				case a.verb == attach:
					have[a.id] = Plugged{Kind: a.kind, ID: a.id, State: PluggedWhole}
				case h.State == PluggedHalf:
					delete(have, a.id)
				default: // the guest listens
					have[a.id] = Plugged{Kind: a.kind, ID: a.id, State: PluggedHalf}
				}
			}
			for id, h := range have { // and to an earlier request, sooner or later
				if h.State == PluggedLeaving {
					have[id] = Plugged{Kind: h.Kind, ID: id, State: PluggedHalf}
				}
			}
			now = now.Add(askWait)
		}
	})
}
