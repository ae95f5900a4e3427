package compute

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// LogWish is which part of a machine's serial log is wanted. A log has two runs of the emulator: the
// latest, and the one before it.
type LogWish struct {
	// Previous is the run before the latest; it has ended, and cannot be followed.
	Previous bool
	// Follow goes on with what the guest says, until its emulator ends.
	Follow bool
	// Tail begins so many lines before the end; below 0: with all that is kept.
	Tail int64
}

// logQuery are the parameters by which a wish is asked for.
var logQuery = []httpapi.Query{
	{Name: "follow", Type: "boolean", Doc: "Go on with what the machine says, until it ends; a machine that moves is followed."},
	{Name: "tail", Type: "integer", Doc: "Begin so many lines before the end; none: with all that is kept."},
	{Name: "previous", Type: "boolean", Doc: "The run before the latest, which may have ended in a crash."},
}

// ParseLogWish reads the parameters of a request.
func ParseLogWish(q url.Values) (LogWish, error) {
	w := LogWish{Tail: -1}
	for name, to := range map[string]*bool{"follow": &w.Follow, "previous": &w.Previous} {
		if text := q.Get(name); text != "" {
			yes, err := strconv.ParseBool(text)
			if err != nil {
				return w, fault.New(fault.Invalid, "read a serial log: %s is %q, and may be true or false", name, text)
			}
			*to = yes
		}
	}
	if text := q.Get("tail"); text != "" {
		lines, err := strconv.ParseInt(text, 10, 64)
		if err != nil || lines < 0 {
			return w, fault.New(fault.Invalid, "read a serial log: tail is %q, and must be a number of lines from 0", text)
		}
		w.Tail = lines
	}
	if w.Previous && w.Follow {
		return w, fault.New(fault.Invalid, "read a serial log: the previous run has ended, and nothing follows; ask for previous or for follow")
	}
	return w, nil
}

// Query writes the parameters of a request.
func (w LogWish) Query() string {
	q := url.Values{"follow": {strconv.FormatBool(w.Follow)}, "previous": {strconv.FormatBool(w.Previous)}}
	if w.Tail >= 0 {
		q.Set("tail", strconv.FormatInt(w.Tail, 10))
	}
	return q.Encode()
}

// GoneRequest names machines of which a host keeps something.
type GoneRequest struct {
	// MachineIDs are the machines.
	MachineIDs []resource.ID `json:"machineIDs" maxItems:"1000"`
}

// GoneAnswer says which of them were deleted.
type GoneAnswer struct {
	// GoneIDs are those that no record names.
	GoneIDs []resource.ID `json:"goneIDs"`
}

// RegisterGone offers agents the route by which they learn that a machine was deleted. They see only
// the records that speak of their host, and one that does not run speaks of none.
func RegisterGone(a *httpapi.API) {
	type request struct{ Body GoneRequest }
	type answer struct{ Body GoneAnswer }
	httpapi.Handle(a, httpapi.Op{ID: "find-gone-machines", Method: http.MethodPost, Path: "/v1/agent/gone-machines", Right: httpapi.AsHost,
		Tag: "agent", Summary: "Say which machines were deleted"},
		func(_ context.Context, c *httpapi.Call, in *request) (*answer, error) {
			out := &answer{Body: GoneAnswer{GoneIDs: []resource.ID{}}}
			if host.Find(c.Snapshot, c.Host) == nil { // a view that lacks the host that asks may lack its machines too
				return nil, fault.New(fault.NotFound, "no host with id %q", c.Host)
			}
			for _, id := range in.Body.MachineIDs {
				if store.Find(c.Snapshot, VMs, id) == nil {
					out.Body.GoneIDs = append(out.Body.GoneIDs, id)
				}
			}
			return out, nil
		})
}
