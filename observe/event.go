package observe

import (
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// EventSpec is what happened.
type EventSpec struct {
	// About is the record that it happened to.
	About resource.Ref `json:"about"`
	// Subject is that record's name, which outlives it.
	Subject string `json:"subject"`
	// Reason is one word in kebab case: "started", "crashed".
	Reason string `json:"reason"`
	// Message says it in a sentence.
	Message string `json:"message"`
	// Outside is what is said instead to who does not run the cloud, where Message names hosts; none: Message.
	Outside string `json:"outside,omitempty"`
	// Severity is info, warning or error.
	Severity string `json:"severity" enum:"info,warning,error"`
	// At is when.
	At time.Time `json:"at"`
	// By is who did it or saw it.
	By string `json:"by"`
	// HostID is the host that saw it, if an agent did.
	HostID resource.ID `json:"hostID,omitempty"`
}

// HasOutside reports whether there are other words for who does not run the cloud.
func (s *EventSpec) HasOutside() bool { return s.Outside != "" }

// SayOutside says those.
func (s *EventSpec) SayOutside() { s.Message, s.Outside = s.Outside, "" }

// EventStatus has nothing to observe.
type EventStatus struct{ resource.Observed }

// Event is something that happened.
type Event = resource.Record[EventSpec, EventStatus]

// Events is the kind. Project is that of the record it is about.
var Events = resource.Define("event", "events", resource.Options[EventSpec, EventStatus]{
	Doc: "Something that happened.", Scope: resource.InProject, HostMakes: true, Reach: resource.NoHost, Past: true,
	Guards: map[string]resource.Sight{"spec.hostID": resource.Operator},
	Refs:   func(e *Event) []resource.Ref { return []resource.Ref{e.Spec.About, host.Ref(e.Spec.HostID)} },
})
