package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/operation/operationtest"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/engine/task/process"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/storage"
)

// server is a server's image service with its runner of operations.
type server struct {
	*Service
	testing.TB
	images   *store.SpecWriter[compute.ImageSpec, compute.ImageStatus]
	ops      *store.SpecWriter[operation.Spec, operation.Status]
	opStatus *store.StatusWriter[operation.Spec, operation.Status]
	host     *task.Runner
	loops    []*reconcile.Loop
	now      time.Time
}

func newServer(t testing.TB) *server {
	blobs, err := OpenBlobs(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{TB: t, now: time.Now()}
	db := store.NewDB(memory.New(), resource.NewCatalog(compute.Images, identity.Projects, operation.Operations, task.Tasks, host.Hosts, storage.Datastores, storage.Volumes, storage.Allocations, storage.ImageCopies))
	db.Inline, db.Now = true, func() time.Time { return s.now }
	l := store.NewRegistry()
	s.images, s.ops = store.Specs(l, compute.Images, "api"), store.Specs(l, operation.Operations, "api")
	tasks, home := store.Specs(l, task.Tasks, "servers"), host.New(resource.NewID(), "h1")
	s.opStatus = store.Statuses(l, operation.Operations, "runner")
	s.Service = NewService(db, store.Statuses(l, compute.Images, "image"), s.ops, tasks, ServiceOptions{
		Home:     func() resource.ID { return home.ID },
		Importer: Importer{Blobs: blobs}, MaxUploadMiB: 16, Download: Downloader{MaxMiB: 16, Idle: 5 * time.Second, Pause: time.Millisecond, Reach: Reach{Allow: prefixes("127.0.0.0/8")}},
		Recipes: map[string]Recipe{"small": func(_ context.Context, to string, _ func(string)) error {
			return os.WriteFile(to, make([]byte, mib), 0o644)
		}},
	})
	b := db.Begin()
	store.Specs(l, identity.Projects, "api").Create(b, &identity.Project{Meta: resource.Meta{ID: "p", Name: "p"}})
	store.Specs(l, host.Hosts, "api").Create(b, home)
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	converter := &Converter{Importer: s.Importer, Programs: process.Folder{Path: filepath.Join(t.TempDir(), "tasks")}}
	t.Cleanup(func() {
		if err := converter.Programs.StopAll(); err != nil {
			t.Error(err)
		}
	})
	s.host = task.NewRunner(reconcile.Knowledge{DB: db}, home.ID, store.Statuses(l, task.Tasks, "agent"), converter.Definition())
	s.loops = []*reconcile.Loop{s.Loop(), s.Sweeping(), operation.NewLoop(db, s.opStatus, s.Definition()), s.host.Loop(), task.NewController(db, tasks).Loop()}
	return s
}

// knowledge is that of a host which hears its servers.
func (s *server) knowledge() reconcile.Knowledge { return reconcile.Knowledge{DB: s.db} }

// settle steps all loops until nothing changes.
func (s *server) settle() {
	s.Helper()
	for range 1000 {
		before := s.db.Revision()
		s.round()
		if s.db.Revision() == before && !s.working() {
			return
		}
	}
	s.Fatal("it never comes to rest")
}

// round steps each loop once for each record.
func (s *server) round() {
	s.Helper()
	for _, l := range s.loops {
		for x := range s.db.Snapshot().OfKind(l.Kind) {
			if _, err := reconcile.SafeStep(context.Background(), l, x.Head().ID); fault.Is(err, fault.Internal) {
				s.Fatal(err)
			}
		}
	}
}

// work lets the host do its tasks for a moment.
func (s *server) work() {
	for _, t := range store.Every(s.db.Snapshot(), task.Tasks) {
		if _, err := s.host.Step(context.Background(), t.ID); fault.Is(err, fault.Internal) {
			s.Error(err)
		}
	}
	s.working()
}

// working reports whether the host has a program that works, and gives it some time.
func (s *server) working() bool {
	for _, t := range store.Every(s.db.Snapshot(), task.Tasks) {
		if !task.Ended(t) {
			time.Sleep(5 * time.Millisecond)
			return true
		}
	}
	return false
}

func (s *server) create(source compute.ImageSource) resource.ID {
	s.Helper()
	i := &compute.Image{Spec: compute.ImageSpec{Source: source, Visibility: "project"}}
	i.Name, i.Project = "web", "p"
	b := s.db.Begin()
	s.images.Create(b, i, Holder)
	if err := s.db.Commit(context.Background(), b); err != nil {
		s.Fatal(err)
	}
	s.settle()
	return i.ID
}

func (s *server) find(id resource.ID) *compute.Image {
	return store.Find(s.db.Snapshot(), compute.Images, id)
}

func (s *server) delete(id resource.ID) {
	s.Helper()
	b := s.db.Begin()
	s.images.Delete(b, s.find(id))
	if err := s.db.Commit(context.Background(), b); err != nil {
		s.Fatal(err)
	}
	s.settle()
}

func (s *server) staged() []string {
	left, _ := filepath.Glob(filepath.Join(s.Importer.Blobs.folder, staging, "*"))
	return left
}

func TestAnUploadBecomesAnImageThatAgentsCanFetch(t *testing.T) {
	s := newServer(t)
	mux := http.NewServeMux()
	mux.Handle("PUT /v1/projects/{project}/images/{name}/content", s.UploadHandler())
	mux.Handle("GET /v1/agent/blobs/{digest}", s.BlobHandler())
	web := httptest.NewServer(mux)
	defer web.Close()
	put := func(body io.Reader) string {
		req, _ := http.NewRequest("PUT", web.URL+"/v1/projects/p/images/web/content", body)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return fmt.Sprint(res.StatusCode, " ", string(text))
	}
	id := s.create(compute.ImageSource{Type: compute.Upload})
	if i := s.find(id); i.Status.Phase != compute.ImageWaiting {
		t.Fatalf("it is %+v", i.Status)
	}
	if said := put(bytes.NewReader(make([]byte, 17*mib))); !strings.Contains(said, "at most 16") {
		t.Errorf("too large: %s", said)
	}
	if said := put(io.MultiReader(bytes.NewReader(make([]byte, 17*mib)))); !strings.Contains(said, "422") {
		t.Errorf("too large, and not told: %s", said)
	}
	if left := s.staged(); len(left) != 0 {
		t.Errorf("left of what was refused: %v", left)
	}
	if said := put(bytes.NewReader(make([]byte, 2*mib))); !strings.HasPrefix(said, "202") || !strings.Contains(said, "sha256:") {
		t.Fatalf("uploaded: %s", said)
	}
	s.settle()
	i := s.find(id)
	if i.Status.Phase != compute.ImageReady || i.Status.VirtualMiB != 2 || i.Status.SourceFormat != "raw" || len(s.staged()) != 0 {
		t.Fatalf("it is %+v, staged %v", i.Status, s.staged())
	}
	if said := put(bytes.NewReader(make([]byte, 512))); !strings.Contains(said, "does not wait for content") {
		t.Errorf("a second time: %s", said)
	}
	req, _ := http.NewRequest("GET", web.URL+"/v1/agent/blobs/"+i.Status.Digest, nil)
	req.Header.Set("Range", "bytes=0-3")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if part, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusPartialContent || string(part) != "QFI\xfb" {
		t.Errorf("fetched %d %q", res.StatusCode, part)
	}

	s.delete(id)
	if _, err := s.Step(t.Context(), id); err != nil || s.find(id) != nil {
		t.Fatalf("deleted: %v", err)
	}
	if f, err := s.Importer.Blobs.Open(i.Status.Digest); err != nil {
		t.Error("content is gone before its time")
	} else {
		_ = f.Close()
	}
	s.now = s.now.Add(2 * time.Hour)
	if _, err := s.Step(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Importer.Blobs.Open(i.Status.Digest); !fault.Is(err, fault.NotFound) {
		t.Errorf("content stays for ever: %v", err)
	}
}

func TestAnImageIsFetchedFromItsURL(t *testing.T) {
	var web *httptest.Server
	web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/disk":
			_, _ = w.Write(make([]byte, 2*mib))
		case "/moved":
			http.Redirect(w, r, "/disk", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/elsewhere":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, mib))
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	for path, says := range map[string]string{
		"/disk": "", "/moved": "", "/loop": "more than 5 times", "/elsewhere": "begins with http", "/endless": "more than 16 MiB", "/none": "404",
	} {
		s := newServer(t)
		i := s.find(s.create(compute.ImageSource{Type: compute.URL, URL: web.URL + path}))
		switch {
		case says == "" && i.Status.Phase != compute.ImageReady:
			t.Errorf("%s: %+v", path, i.Status)
		case says != "" && (i.Status.Phase != compute.ImageFailed || !strings.Contains(i.Status.Problems[0].Message, says)):
			t.Errorf("%s: %+v", path, i.Status)
		}
		if left := s.staged(); len(left) != 0 {
			t.Errorf("%s: left behind: %v", path, left)
		}
	}
}

func TestAnImageIsBuiltOfARecipe(t *testing.T) {
	s := newServer(t)
	if i := s.find(s.create(compute.ImageSource{Type: compute.Build, Recipe: "small"})); i.Status.Phase != compute.ImageReady {
		t.Errorf("it is %+v", i.Status)
	}
	s = newServer(t)
	id := s.create(compute.ImageSource{Type: compute.Build, Recipe: "none"})
	if i := s.find(id); i.Status.Phase != compute.ImageFailed || i.Status.Problems[0].Kind != string(fault.Invalid) {
		t.Errorf("it is %+v", i.Status)
	}
	if s.delete(id); s.find(id) != nil {
		t.Error("a failed image cannot be deleted")
	}
}

func TestAnImportCanBreakAnywhere(t *testing.T) {
	operationtest.Run(t, func(t testing.TB) *operationtest.World {
		s := newServer(t)
		i := &compute.Image{Spec: compute.ImageSpec{Source: compute.ImageSource{Type: compute.Build, Recipe: "small"}}}
		i.Name, i.Project = "web", "p"
		b := s.db.Begin()
		s.images.Create(b, i, Holder)
		if err := s.db.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		return &operationtest.World{DB: s.db, Specs: s.ops, Statuses: s.opStatus, Definition: s.Definition(), Target: i.Ref(), Input: struct{}{},
			Settle: s.work,
			Facts:  func() string { return fmt.Sprint(s.staged(), s.find(i.ID).Status.Phase) },
			Reached: func() error {
				if st := s.find(i.ID).Status; st.Phase != compute.ImageReady || st.Digest == "" || len(s.staged()) > 0 {
					return fmt.Errorf("the image is %+v, staged %v", st, s.staged())
				}
				return nil
			},
		}
	})
}
