package image

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/host"
)

// Recipe builds an image to a file.
type Recipe func(ctx context.Context, to string, tell func(string)) error

// Options of the service.
type ServiceOptions struct {
	Importer Importer
	Download Downloader
	// Recipes are what can be built, by name: "tiny", "debian/12".
	Recipes map[string]Recipe
	// Home is the host of this server: the tasks of its imports are done there.
	Home func() resource.ID
	// Servers is the way to the others; nil: there are none.
	Servers Servers
	// Progress asks a host how far a task is; nil: nobody is asked.
	Progress func(context.Context, *task.Task) (task.Progress, error)
	// MaxUploadMiB is the largest file that is taken; 0: 64 GiB.
	MaxUploadMiB int64
}

// Servers passes requests on to other servers.
type Servers interface {
	Leads() bool
	// Forward passes a request that was admitted on to the server of a host; empty: the one that leads.
	Forward(w http.ResponseWriter, r *http.Request, server resource.ID, path string)
}

// Service is the server's part of images: the loop, the operation, the upload and the blobs.
type Service struct {
	ServiceOptions
	db         *store.DB
	statuses   *store.StatusWriter[compute.ImageSpec, compute.ImageStatus]
	operations *store.SpecWriter[operation.Spec, operation.Status]
	tasks      *store.SpecWriter[task.Spec, task.Status]
	sweeps     sweeps
	uploads    uploads
}

// NewService makes the service. It writes the statuses of images, and starts operations and tasks.
func NewService(db *store.DB, statuses *store.StatusWriter[compute.ImageSpec, compute.ImageStatus],
	operations *store.SpecWriter[operation.Spec, operation.Status], tasks *store.SpecWriter[task.Spec, task.Status], o ServiceOptions) *Service {
	if o.Download.Reach.Own == nil {
		o.Download.Reach.Own = func() []netip.Addr { return append(LocalAddresses(), hostAddresses(db.Snapshot())...) }
	}
	return &Service{ServiceOptions: o, db: db, statuses: statuses, operations: operations, tasks: tasks, uploads: uploads{busy: map[string]bool{}}}
}

// hostAddresses are those that the hosts of the cloud are reached at.
func hostAddresses(s *store.Snapshot) []netip.Addr {
	var out []netip.Addr
	for _, h := range store.Every(s, host.Hosts) {
		for _, text := range []string{h.Status.Address, h.Status.TunnelAddress} {
			if at, err := netip.ParseAddrPort(text); err == nil {
				out = append(out, at.Addr())
			} else if a, err := netip.ParseAddr(text); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}

// ImportType names the operation.
const ImportType = "image.import"

// Definition is the operation that imports an image.
func (s *Service) Definition() operation.Definition {
	return operation.Definition{Type: ImportType, Doc: "Bring an image's content into the cloud.", Wakes: []resource.Kind{task.Tasks.Kind}, Steps: []operation.Step{
		{Name: "obtain", Doc: "Fetch or build the content, where it was not uploaded.", Do: s.obtain, Undo: s.discard},
		{Name: "check", Doc: "Compare the checksum, and refuse what is no image or is hostile.", Do: s.check, Undo: s.discard},
		{Name: "convert", Doc: "Make a standalone qcow2 file of it.", Do: s.convert, Undo: s.unconvert},
		{Name: "keep", Doc: "Move it into the store of images.", Do: s.keepStep, Undo: s.discard},
		{Name: "publish", Doc: "The image is ready.", Do: s.publish, Commit: true},
		{Name: "clean", Doc: "Remove what was staged.", Do: s.discard},
	}}
}

func (s *Service) image(r *operation.Run) (*compute.Image, error) {
	return store.Need(r.DB.Snapshot(), compute.Images, r.Operation.Spec.Target.ID)
}

func (s *Service) discard(_ context.Context, r *operation.Run) error {
	return s.Importer.Blobs.discard(r.Operation.Spec.Target.ID)
}

const content, converted = "content", "converted"

func (s *Service) obtain(ctx context.Context, r *operation.Run) error {
	i, err := s.image(r)
	if err != nil {
		return err
	}
	file := s.Importer.Blobs.staged(i.ID, content)
	if _, err := os.Lstat(file); err == nil {
		return nil
	}
	switch source := i.Spec.Source; source.Type {
	case compute.Upload:
		return fault.New(fault.Precondition, "the content that was sent is not on this server any more; delete the image and send it again")
	case compute.URL:
		return s.Download.Fetch(ctx, source.URL, file, source.Reach == compute.ReachPrivate, func(done, total int64) {
			r.Tell(done/mib, total/mib, fmt.Sprintf("fetched %d of %d MiB", done/mib, total/mib))
		})
	case compute.Build:
		return s.build(ctx, r, source.Recipe, file)
	default:
		return fault.New(fault.Invalid, "an image cannot come from %q", source.Type)
	}
}

func (s *Service) build(ctx context.Context, r *operation.Run, name, file string) error {
	recipe := s.Recipes[name]
	if recipe == nil {
		return fault.New(fault.Invalid, "there is no recipe %q", name)
	}
	half := file + half
	defer os.Remove(half)
	if err := recipe(ctx, half, func(words string) { r.Tell(0, 0, words) }); err != nil {
		return err
	}
	return os.Rename(half, file)
}

func (s *Service) check(ctx context.Context, r *operation.Run) error {
	i, err := s.image(r)
	if err != nil {
		return err
	}
	want, err := s.wanted(ctx, i)
	if err != nil {
		return err
	}
	e, err := s.Importer.Examine(ctx, s.Importer.Blobs.staged(i.ID, content), Options{Checksum: want})
	if err != nil {
		return err
	}
	return r.Give(e)
}

// told are options that tell an operation's progress.
func told(r *operation.Run) Options {
	return Options{Tell: func(percent int) { r.Tell(int64(percent), 100, fmt.Sprintf("converted %d %%", percent)) }}
}

// kept is what the step keep gives.
type kept struct {
	Disks []Kept `json:"disks"`
}

func (s *Service) keepStep(ctx context.Context, r *operation.Run) error {
	e, _, err := operation.Output[Examined](r, "check")
	if err != nil {
		return err
	}
	disks, err := s.Importer.Keep(ctx, e, s.Importer.Blobs.staged(r.Operation.Spec.Target.ID, content), told(r))
	if err != nil {
		return err
	}
	return r.Give(kept{disks})
}

func (s *Service) publish(_ context.Context, r *operation.Run) error {
	i, err := s.image(r)
	if err != nil {
		return err
	}
	e, _, err := operation.Output[Examined](r, "check")
	if err != nil {
		return err
	}
	k, there, err := operation.Output[kept](r, "keep")
	if err != nil || !there || len(k.Disks) == 0 {
		return fault.New(fault.Internal, "publish image %s: its content is not known (%v)", i.Name, err)
	}
	var bytes int64
	for _, d := range k.Disks {
		bytes += d.Bytes
	}
	if err := s.allowed(i.Project, bytes); err != nil {
		return err
	}
	s.statuses.Set(r.Batch, i, func(t *compute.ImageStatus) {
		t.SeenGeneration, t.Problems = i.Generation, nil
		boot := k.Disks[0]
		t.Phase, t.SourceFormat, t.Digest = compute.ImageReady, named(e.Format), boot.Digest
		t.SizeMiB, t.VirtualMiB, t.DataDisks = inMiB(boot.Bytes), inMiB(boot.VirtualBytes), nil
		for _, d := range k.Disks[1:] {
			t.DataDisks = append(t.DataDisks, compute.ImageDisk{Name: short(d.Name), Content: d.Digest, SizeMiB: inMiB(d.Bytes), VirtualMiB: inMiB(d.VirtualBytes)})
		}
		t.LeftOut, t.ServerID = e.LeftOut, s.Home()
	})
	return nil
}
