package onhost

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

const (
	copiesEvery    = 5 * time.Minute
	copiesTogether = 5 * time.Second
	copySuffix     = ".json"
)

// RecordCopies keeps copies of the records of the VMs that run here and of those whose disks this host looks after, in
// a folder: a file for each, by its id. They serve when a backup of the cloud is brought back that is older than they
// are. A copy is removed only when a server names it no more, and not while there is doubt whether it has forgotten.
type RecordCopies struct {
	Known reconcile.Knowledge
	Dir   string
	// Ask asks a server which copies this host is to have.
	Ask func(context.Context, compute.CopiesRequest) (compute.CopiesAnswer, error)

	mu   sync.Mutex
	have map[resource.ID]string // digests; nil: nobody has looked
}

// Chore keeps them up to date.
func (r *RecordCopies) Chore() part.Chore {
	return part.Chore{Name: "compute/onhost/records", Every: copiesEvery, Together: copiesTogether, Do: r.Keep,
		Wakes: []resource.Kind{compute.Instances.Kind, storage.Allocations.Kind, storage.Attachments.Kind}}
}

// Keep does it once.
func (r *RecordCopies) Keep(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.have == nil {
		if err := r.look(); err != nil {
			return err
		}
	}
	for more := true; more; {
		answer, err := r.Ask(ctx, compute.CopiesRequest{Digests: r.have})
		if err != nil {
			return fault.Wrap(err, "ask which records to keep")
		}
		for _, c := range answer.Copies {
			if err := r.keep(c); err != nil {
				return err
			}
		}
		if more = answer.More && len(answer.Copies) > 0; !more {
			return r.sweep(answer.IDs)
		}
	}
	return nil
}

// look reads which copies are here. One that cannot be read is given anew, or stays for a person to look at.
func (r *RecordCopies) look() error {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return fault.New(fault.Internal, "make the folder of kept records: %w", err)
	}
	ids, err := r.ids()
	if err != nil {
		return err
	}
	r.have = map[resource.ID]string{}
	for _, id := range ids {
		c, err := r.Read(id)
		if err != nil {
			slog.Warn("a copy of records cannot be read", "error", err)
		}
		r.have[id] = c.Digest
	}
	return nil
}

func (r *RecordCopies) ids() (out []resource.ID, err error) {
	files, err := os.ReadDir(r.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Internal, "read the folder of kept records: %w", err)
	}
	for _, f := range files {
		if id, is := strings.CutSuffix(f.Name(), copySuffix); is && resource.IsID(id) {
			out = append(out, resource.ID(id))
		}
	}
	return out, nil
}

func (r *RecordCopies) path(id resource.ID) string {
	return filepath.Join(r.Dir, string(id)+copySuffix)
}

func (r *RecordCopies) keep(c compute.RecordCopy) error {
	if !resource.IsID(string(c.ID)) {
		return fault.New(fault.Invalid, "the server gave records of %q, which is no id", c.ID)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fault.New(fault.Internal, "write down records of %s: %w", c.ID, err)
	}
	if err := durable.Write(r.path(c.ID), text, 0o600); err != nil {
		return err
	}
	r.have[c.ID] = c.Digest
	return nil
}

// sweep removes what a server names no more, unless it may have forgotten.
func (r *RecordCopies) sweep(named []resource.ID) error {
	if r.Known.Doubt() != nil {
		return nil
	}
	wanted := map[resource.ID]bool{}
	for _, id := range named {
		wanted[id] = true
	}
	for id := range r.have {
		if wanted[id] {
			continue
		}
		if err := os.Remove(r.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Internal, "remove the kept records of %s: %w", id, err)
		}
		delete(r.have, id)
	}
	return nil
}

// Read gives one copy.
func (r *RecordCopies) Read(id resource.ID) (c compute.RecordCopy, err error) {
	if !resource.IsID(string(id)) {
		return c, fault.New(fault.Invalid, "%q is no id", id)
	}
	text, err := os.ReadFile(r.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return c, fault.New(fault.NotFound, "no records of %s are kept here", id)
	}
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err == nil && c.ID != id {
		err = errors.New("it is of another")
	}
	if err != nil {
		return compute.RecordCopy{}, fault.New(fault.Internal, "read the kept records of %s: %w", id, err)
	}
	return c, nil
}

// List says what copies are here. One that cannot be read is left out.
func (r *RecordCopies) List() ([]compute.Unregistered, error) {
	ids, err := r.ids()
	if err != nil {
		return nil, err
	}
	out := []compute.Unregistered{}
	for _, id := range ids {
		c, err := r.Read(id)
		if err != nil {
			continue
		}
		set, err := c.Set()
		if err == nil {
			out = append(out, compute.Unregistered{Kind: set.Kind, ID: set.ID, Name: set.Name, Project: set.Project, Taken: set.Taken})
		}
	}
	return out, nil
}

// recordCopies and recordCopy are the routes by which a server asks for them.
func (s *Streams) recordCopies(w http.ResponseWriter, _ *http.Request, _ resource.ID) error {
	if s.Records == nil {
		return fault.New(fault.Precondition, "this host keeps no copies of records")
	}
	list, err := s.Records.List()
	return answerJSON(w, list, err)
}

func (s *Streams) recordCopy(w http.ResponseWriter, _ *http.Request, id resource.ID) error {
	if s.Records == nil {
		return fault.New(fault.Precondition, "this host keeps no copies of records")
	}
	c, err := s.Records.Read(id)
	return answerJSON(w, c, err)
}

func answerJSON(w http.ResponseWriter, out any, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(out)
}
