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

// LogOptions is which part of a VM's serial log is wanted. A log has two runs of QEMU: the
// latest, and the one before it.
type LogOptions struct {
	// Previous is the run before the latest; it has ended, and cannot be followed.
	Previous bool
	// Follow goes on with what the guest says, until its QEMU ends.
	Follow bool
	// Tail begins so many lines before the end; below 0: with all that is kept.
	Tail int64
}

// logQuery are the parameters by which they are asked for.
var logQuery = []httpapi.Query{
	{Name: "follow", Type: "boolean", Doc: "Go on with what the VM says, until it ends; a VM that moves is followed."},
	{Name: "tail", Type: "integer", Doc: "Begin so many lines before the end; none: with all that is kept."},
	{Name: "previous", Type: "boolean", Doc: "The run before the latest, which may have ended in a crash."},
}

// ParseLogOptions reads the parameters of a request.
func ParseLogOptions(q url.Values) (LogOptions, error) {
	w := LogOptions{Tail: -1}
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
func (w LogOptions) Query() string {
	q := url.Values{"follow": {strconv.FormatBool(w.Follow)}, "previous": {strconv.FormatBool(w.Previous)}}
	if w.Tail >= 0 {
		q.Set("tail", strconv.FormatInt(w.Tail, 10))
	}
	return q.Encode()
}

// GoneRequest names VMs of which a host keeps something.
type GoneRequest struct {
	// VMIDs are the VMs.
	VMIDs []resource.ID `json:"vmIDs" maxItems:"1000"`
}

// GoneAnswer says which of them were deleted.
type GoneAnswer struct {
	// GoneIDs are those that no record names.
	GoneIDs []resource.ID `json:"goneIDs"`
}

// RegisterGone offers agents the route by which they learn that a VM was deleted. They see only
// the records that speak of their host, and one that does not run speaks of none.
func RegisterGone(a *httpapi.API) {
	type request struct{ Body GoneRequest }
	type answer struct{ Body GoneAnswer }
	httpapi.Handle(a, httpapi.Op{ID: "find-gone-vms", Method: http.MethodPost, Path: "/v1/agent/gone-vms", Right: httpapi.AsHost,
		Tag: "agent", Summary: "Say which VMs were deleted"},
		func(_ context.Context, c *httpapi.Call, in *request) (*answer, error) {
			out := &answer{Body: GoneAnswer{GoneIDs: []resource.ID{}}}
			if host.Find(c.Snapshot, c.Host) == nil { // a view that lacks the host that asks may lack its VMs too
				return nil, fault.New(fault.NotFound, "no host with id %q", c.Host)
			}
			for _, id := range in.Body.VMIDs {
				if store.Find(c.Snapshot, VMs, id) == nil {
					out.Body.GoneIDs = append(out.Body.GoneIDs, id)
				}
			}
			return out, nil
		})
}
