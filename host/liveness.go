package host

import (
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

// LifeState is what is known of a host's life.
type LifeState string

// The states.
const (
	Unknown LifeState = "unknown" // no heartbeat yet, and not long enough listened
	Alive   LifeState = "alive"
	Lost    LifeState = "lost"
)

// LivenessSpec names the host.
type LivenessSpec struct {
	// HostID is the host that this speaks of.
	HostID resource.ID `json:"hostID"`
}

// LivenessStatus is what the servers know.
type LivenessStatus struct {
	resource.Observed
	// State is unknown, alive or lost.
	State LifeState `json:"state,omitempty"`
	// Since is when the state began.
	Since time.Time `json:"since,omitzero"`
}

// Liveness is the servers' knowledge of a host's life, apart from what the host says of itself.
type Liveness = resource.Record[LivenessSpec, LivenessStatus]

// Livenesses is the kind.
var Livenesses = resource.Define("liveness", "livenesses", resource.Options[LivenessSpec, LivenessStatus]{
	Doc: "What the servers know of a host's life.", Scope: resource.InCloud,
	Refs: func(l *Liveness) []resource.Ref { return []resource.Ref{Ref(l.Spec.HostID)} },
})
