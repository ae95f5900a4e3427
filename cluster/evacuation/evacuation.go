package evacuation

import (
	"fmt"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// Phase is how far an evacuation is.
type Phase string

// The phases.
const (
	Emptying Phase = "emptying" // VMs move, or will
	Blocked  Phase = "blocked"  // nothing moves, and what is left needs somebody to act
	Empty    Phase = "empty"    // no VM is left
)

// State is what becomes of a VM that is still there.
type State string

// The states.
const (
	Moving  State = "moving"  // an operation moves it
	Queued  State = "queued"  // it moves when others have arrived
	Waiting State = "waiting" // it is between two states, or its last move failed and is tried again
	Stays   State = "stays"   // it cannot be moved; Why says what to do
)

// Spec names the host.
type Spec struct {
	// HostID is the host that is emptied.
	HostID resource.ID `json:"hostID"`
}

// VM is a VM that is still on the host.
type VM struct {
	// VMID is the VM, and Name what it is called.
	VMID resource.ID `json:"vmID"`
	Name string      `json:"name"`
	// ProjectID is whose it is.
	ProjectID resource.ID `json:"projectID" ref:"project"`
	// State is moving, queued, waiting or stays.
	State State `json:"state" enum:"moving,queued,waiting,stays"`
	// Why says what it waits for, or why it cannot be moved.
	Why string `json:"why,omitempty"`
}

// Status is how far it is.
type Status struct {
	resource.Observed
	// Phase is emptying, blocked or empty.
	Phase Phase `json:"phase,omitempty" enum:"emptying,blocked,empty"`
	// Since is when the phase began.
	Since time.Time `json:"since,omitzero"`
	// Left are the VMs that are still there.
	Left []VM `json:"left,omitempty"`
}

// Evacuation is the emptying of a host in maintenance.
type Evacuation = resource.Record[Spec, Status]

// Evacuations is the kind.
var Evacuations = resource.Define("evacuation", "evacuations", resource.Options[Spec, Status]{
	Doc: "The emptying of a host that is in maintenance.", Scope: resource.InCloud,
	Needs: func(e *Evacuation) []resource.Need {
		return []resource.Need{{Ref: host.Ref(e.Spec.HostID), Tie: resource.Following}}
	},
})

// mostNames is how many VMs are named in a sentence; of more, the number is told.
const mostNames = 5

// blocked says for those who wait why they wait in vain.
func blocked(e *Evacuation) error {
	var words []string
	for i, vm := range e.Status.Left {
		if i == mostNames {
			words = append(words, fmt.Sprintf("and %d more", len(e.Status.Left)-i))
			break
		}
		words = append(words, vm.Why)
	}
	return fault.New(fault.Precondition, "evacuate host %s: %d of its VMs cannot be moved: %s", e.Name, len(e.Status.Left), strings.Join(words, "; "))
}
