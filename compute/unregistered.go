package compute

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// Registrar hands hosts copies of the records of what they have, and registers by them what a restored backup does
// not know.
type Registrar struct {
	Screens  *Screens
	Returner *store.Returner
	// Signer signs the copies; nil: none are handed out, and nothing is registered.
	Signer Signer
	Events Recorder
}

// How much one answer to a host has at most; it asks again for the rest.
const (
	copiesAtOnce  = 200
	copyBytes     = 4 << 20
	longestCopy   = 16 << 20
	longestCopies = 64 << 20
)

// CopiesRequest says which copies a host has.
type CopiesRequest struct {
	// Digests are those of its copies, by the id of the VM or volume.
	Digests map[resource.ID]string `json:"digests"`
}

// CopiesAnswer says which copies it is to have.
type CopiesAnswer struct {
	// IDs are the VMs and volumes of which it keeps a copy. The others it may remove.
	IDs []resource.ID `json:"ids"`
	// Copies are those that have changed.
	Copies []RecordCopy `json:"copies"`
	// More: there are further ones; ask again.
	More bool `json:"more,omitempty"`
}

// Unregistered is a VM or a volume that a host has and the cloud does not know.
type Unregistered struct {
	// Kind is vm or volume; ID, Name and Project are what it was called.
	Kind    resource.Kind `json:"kind"`
	ID      resource.ID   `json:"id"`
	Name    string        `json:"name"`
	Project string        `json:"project"`
	// Taken is when the host was given its records.
	Taken time.Time `json:"taken"`
}

// UnregisteredList is what a host has and the cloud does not know.
type UnregisteredList struct {
	// Items are sorted by project and name.
	Items []Unregistered `json:"items"`
}

// RegisterRequest says what of a host is to be registered.
type RegisterRequest struct {
	// Workloads are VMs and volumes by name or id; none: all that the host has.
	Workloads []string `json:"workloads,omitempty" maxItems:"1000"`
	// Name is what to call the one workload that is given; empty: what it was called.
	Name string `json:"name,omitempty"`
}

// Register offers the routes.
func (r *Registrar) Register(a *httpapi.API) {
	type ask struct{ Body CopiesRequest }
	type give struct{ Body CopiesAnswer }
	httpapi.Handle(a, httpapi.Op{ID: "get-record-copies", Method: http.MethodPost, Path: "/v1/agent/record-copies", Right: httpapi.AsHost,
		Tag: "agent", Summary: "Give a host copies of the records of what it has"},
		func(_ context.Context, c *httpapi.Call, in *ask) (*give, error) {
			if host.Find(c.Snapshot, c.Host) == nil {
				return nil, fault.New(fault.NotFound, "no host with id %q", c.Host)
			}
			out, err := r.copies(c.DB.Catalog(), c.Snapshot, c.Host, in.Body.Digests, c.Now())
			return &give{Body: out}, err
		})
	type of struct {
		Name string `path:"name" doc:"The host, by name or id"`
	}
	type list struct{ Body UnregisteredList }
	httpapi.Handle(a, httpapi.Op{ID: "list-unregistered", Method: http.MethodGet, Path: "/v1/hosts/{name}/unregistered", Right: httpapi.Admin,
		Tag: "hosts", Summary: "The VMs and volumes of a host that the cloud does not know, as after a backup was brought back"},
		func(ctx context.Context, c *httpapi.Call, in *of) (*list, error) {
			h := store.Named(c.Snapshot, host.Hosts, "", in.Name)
			if h == nil {
				return nil, fault.New(fault.NotFound, "no host %q; virga host list shows them", in.Name)
			}
			items, err := r.unregistered(ctx, c.Snapshot, h)
			return &list{Body: UnregisteredList{Items: items}}, err
		})
	httpapi.Action(a, host.Hosts, httpapi.Act{
		Name: "register", Summary: "Register VMs and volumes of a host that the cloud does not know",
		Doc: "After a backup was brought back, what was made later runs on, and has no record. It is registered by the records that its host has kept, as it was: with its id, disks, addresses and project. A VM that runs runs on.",
	}, r.register)
}

// copies decides what a host is given.
func (r *Registrar) copies(catalog *resource.Catalog, snap *store.Snapshot, hostID resource.ID, have map[resource.ID]string, now time.Time) (CopiesAnswer, error) {
	out, size := CopiesAnswer{IDs: whose(snap, hostID), Copies: []RecordCopy{}}, 0
	if r.Signer == nil {
		return out, fault.New(fault.Precondition, "this server has no authority to sign with")
	}
	for _, id := range out.IDs {
		records := gather(catalog, snap, id)
		if moves(records) || digestOf(records) == have[id] {
			continue
		}
		if len(out.Copies) == copiesAtOnce || size > copyBytes {
			out.More = true
			break
		}
		c, err := copyOf(snap, id, records, r.Signer, now)
		if err != nil {
			return out, err
		}
		size += len(c.Content)
		out.Copies = append(out.Copies, c)
	}
	return out, nil
}

// ask asks the agent of a host for what it keeps.
func (r *Registrar) ask(ctx context.Context, h *host.Host, path string, most int64, out any) error {
	answer, err := r.Screens.get(ctx, h.ID, path)
	if err == nil {
		defer answer.Body.Close()
		err = json.NewDecoder(http.MaxBytesReader(nil, answer.Body, most)).Decode(out)
	}
	return fault.Wrap(err, "read the records that host %s has kept", h.Name)
}

func (r *Registrar) unregistered(ctx context.Context, snap *store.Snapshot, h *host.Host) ([]Unregistered, error) {
	kept := []Unregistered{}
	if err := r.ask(ctx, h, "/record-copies", longestCopies, &kept); err != nil {
		return nil, err
	}
	kept = slices.DeleteFunc(kept, func(u Unregistered) bool { return snap.Lookup(u.ID) != nil })
	slices.SortFunc(kept, func(a, b Unregistered) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return kept, nil
}

func (r *Registrar) register(ctx context.Context, c *httpapi.Call, h *host.Host, in *RegisterRequest) (*UnregisteredList, error) {
	if r.Signer == nil {
		return nil, fault.New(fault.Precondition, "this server has no authority to judge records by")
	}
	all, err := r.unregistered(ctx, c.Snapshot, h)
	if err != nil {
		return nil, err
	}
	wanted, err := choose(all, in, h.Name)
	if err != nil {
		return nil, err
	}
	done := map[resource.ID]bool{}
	for _, u := range wanted {
		var kept RecordCopy
		if err := r.ask(ctx, h, "/record-copies/"+string(u.ID), longestCopy, &kept); err != nil {
			return nil, err
		}
		set, records, err := kept.read(c.DB.Catalog(), r.Signer)
		if err == nil && set.ID != u.ID {
			err = fault.New(fault.Invalid, "host %s gave the records of another %s than %s", h.Name, set.Kind, u.Name)
		}
		if err == nil {
			err = r.putBack(c, set, records, in.Name, done)
		}
		if err != nil {
			return nil, fault.Wrap(err, "register %s", u.title())
		}
		if r.Events != nil {
			root := resource.Ref{Kind: u.Kind, ID: u.ID}
			for _, x := range records {
				if x.Head().ID == u.ID {
					root = x.Head().Ref()
				}
			}
			r.Events.Record(c.Batch, root, cmp.Or(in.Name, u.Name), "info", "registered", "registered by the records that host "+h.Name+" has kept", c.User, "registered by the records that its host has kept")
		}
	}
	return &UnregisteredList{Items: wanted}, nil
}

// choose finds what is asked for among what a host has.
func choose(all []Unregistered, in *RegisterRequest, hostName string) ([]Unregistered, error) {
	if in.Name != "" && len(in.Workloads) != 1 {
		return nil, fault.New(fault.Invalid, "a new name is for one VM or volume; say which")
	}
	if len(in.Workloads) == 0 {
		return all, nil
	}
	var out []Unregistered
	for _, word := range in.Workloads {
		var found []Unregistered
		for _, u := range all {
			if string(u.ID) == word || u.Name == word {
				found = append(found, u)
			}
		}
		switch len(found) {
		case 0:
			return nil, fault.New(fault.NotFound, "host %s has no unregistered VM or volume %q; virga host unregistered %s shows what it has", hostName, word, hostName)
		case 1:
			out = append(out, found[0])
		default:
			return nil, fault.New(fault.Invalid, "host %s has %d unregistered VMs and volumes called %s; say which by its id, which virga host unregistered %s shows", hostName, len(found), word, hostName)
		}
	}
	return out, nil
}

// putBack adds the records of a set that are not there.
func (r *Registrar) putBack(c *httpapi.Call, set RecordSet, records []resource.Object, name string, done map[resource.ID]bool) error {
	for _, x := range records {
		head := x.Head()
		if c.Snapshot.Lookup(head.ID) != nil || done[head.ID] {
			continue
		}
		done[head.ID] = true
		if head.ID == set.ID {
			head.Name = cmp.Or(name, head.Name)
		}
		if other := c.Snapshot.NamedOf(head.Kind, head.Project, head.Name); other != nil {
			if head.ID == set.ID {
				return fault.New(fault.Exists, "there is another %s called %s; say --name with another", head.Kind, head.Name)
			}
			head.Name = string(head.ID)
		}
		r.Returner.Return(c.Batch, x)
	}
	return nil
}

func (u Unregistered) title() string { return string(u.Kind) + " " + u.Name }
