package evacuation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

// AtOnce is how many VMs leave a host at the same time: more share its link and processors and take longer each.
const AtOnce = 2

// The pause before a failed migration is tried again doubles from the first to the longest.
const (
	firstPause   = 15 * time.Second
	longestPause = 5 * time.Minute
)

// Guest is what is known of a VM on the host.
type Guest struct {
	VM
	// MemoryMiB is what has to be sent.
	MemoryMiB int64
	// Moved says that an operation moves it away now.
	Moved bool
	// Between says that it is between two states and will leave this one by itself; Why says which.
	Between bool
	// Refusal says why it cannot be moved now; empty: it can.
	Refusal string
	// Tries is how often its migration has failed since the host is in maintenance, Failed when last, and
	// Failure why.
	Tries   int
	Failed  time.Time
	Failure string
}

// pause is how long nobody tries again after so many failures.
func pause(tries int) time.Duration {
	p := firstPause
	for range tries - 1 {
		if p *= 2; p >= longestPause {
			return longestPause
		}
	}
	return p
}

// Decision is what is to be done now.
type Decision struct {
	// Start are the VMs whose migration begins.
	Start []resource.ID
	// Left tells of each VM what becomes of it, by name.
	Left  []VM
	Phase Phase
	// Again is when a failed one is due; zero: none is.
	Again time.Time
}

// Next says which migrations begin at an instant: those that failed least often first, then those with the
// least to send, so that most VMs are gone soonest.
func Next(now time.Time, guests []Guest) Decision {
	var d Decision
	var ready []int
	room, busy := AtOnce, false
	for i := range guests {
		g := &guests[i]
		switch due := g.Failed.Add(pause(g.Tries)); {
		case g.Moved:
			g.State, g.Why = Moving, ""
			room--
		case g.Between:
			g.State = Waiting
		case g.Refusal != "":
			g.State, g.Why = Stays, g.Refusal
		case g.Tries > 0 && due.After(now):
			g.State, g.Why = Waiting, fmt.Sprintf("its migration failed and is tried again: %s", g.Failure)
			if d.Again.IsZero() || due.Before(d.Again) {
				d.Again = due
			}
		default:
			g.State, g.Why = Queued, ""
			ready = append(ready, i)
		}
	}
	slices.SortFunc(ready, func(a, b int) int {
		x, y := &guests[a], &guests[b]
		return cmp.Or(cmp.Compare(x.Tries, y.Tries), cmp.Compare(x.MemoryMiB, y.MemoryMiB), cmp.Compare(x.VMID, y.VMID))
	})
	for _, i := range ready[:min(len(ready), max(0, room))] {
		guests[i].State = Moving
		d.Start = append(d.Start, guests[i].VMID)
	}
	for i := range guests {
		busy = busy || guests[i].State != Stays
		d.Left = append(d.Left, guests[i].VM)
	}
	slices.SortFunc(d.Left, func(a, b VM) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.VMID, b.VMID)) })
	switch {
	case busy:
		d.Phase = Emptying
	case len(guests) > 0:
		d.Phase = Blocked
	default:
		d.Phase = Empty
	}
	return d
}
