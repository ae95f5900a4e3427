package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// uploads keeps two people from sending one image at once.
type uploads struct {
	sync.Mutex
	busy map[string]bool
}

func (u *uploads) begin(id string) bool {
	u.Lock()
	defer u.Unlock()
	if u.busy[id] {
		return false
	}
	u.busy[id] = true
	return true
}

func (u *uploads) end(id string) {
	u.Lock()
	defer u.Unlock()
	delete(u.busy, id)
}

// Uploaded is the answer to a finished upload.
type Uploaded struct {
	// Checksum is that of what came: "sha256:" and 64 hex digits.
	Checksum string `json:"checksum"`
	// Bytes is its length.
	Bytes int64 `json:"bytes"`
}

// UploadHandler takes the content of an image: PUT /v1/projects/{project}/images/{name}/content.
// The import begins when all has come.
func (s *Service) UploadHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Servers != nil && !s.Servers.Leads() && !httpapi.CallerOf(r.Context()).Server {
			s.Servers.Forward(w, r, "", r.URL.Path) // imports run where the content lies: on the server that leads
			return
		}
		answer, err := s.upload(w, r)
		if err != nil {
			httpapi.Fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func (s *Service) upload(w http.ResponseWriter, r *http.Request) (Uploaded, error) {
	snap, project := s.db.Snapshot(), resource.ID(r.PathValue("project"))
	i := store.Named(snap, compute.Images, project, r.PathValue("name"))
	switch {
	case i == nil:
		return Uploaded{}, fault.New(fault.NotFound, "no image %q in project %s", r.PathValue("name"), snap.NameOf(project))
	case i.Spec.Source.Type != compute.Upload:
		return Uploaded{}, fault.New(fault.Precondition, "image %s is not to be uploaded: its source is %s", i.Name, i.Spec.Source.Type)
	case i.Deleting != nil || i.Status.Phase != compute.ImageWaiting && i.Status.Phase != "":
		return Uploaded{}, fault.New(fault.Precondition, "image %s does not wait for content (it is %s); make a new one", i.Name, i.Status.Phase)
	case !s.uploads.begin(string(i.ID)):
		return Uploaded{}, fault.New(fault.Conflict, "image %s is being uploaded by somebody else", i.Name)
	}
	defer s.uploads.end(string(i.ID))
	answer, err := s.receive(w, r, i)
	if err != nil {
		return Uploaded{}, fault.Wrap(err, "upload image %s", i.Name)
	}
	// The loop finds the content at its next look; this is only to have it look now. It may have
	// been faster.
	for range 10 {
		if _, err = s.Step(r.Context(), i.ID); !fault.Is(err, fault.Conflict) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return answer, nil
}

// receive writes the content down, and checks it on the way. Nothing is left of an upload that
// breaks off.
func (s *Service) receive(w http.ResponseWriter, r *http.Request, i *compute.Image) (Uploaded, error) {
	most := s.MaxUploadMiB * mib
	if most == 0 {
		most = 64 << 30
	}
	file := s.Importer.Blobs.staged(i.ID, content)
	if r.ContentLength > most {
		return Uploaded{}, fault.New(fault.Invalid, "it has %d MiB; at most %d are taken", r.ContentLength/mib, most/mib)
	}
	if err := s.allowed(i.Project, max(0, r.ContentLength)); err != nil {
		return Uploaded{}, err
	}
	if err := enough(file, max(0, r.ContentLength)); err != nil {
		return Uploaded{}, err
	}
	out, err := os.Create(file + half)
	if err != nil {
		return Uploaded{}, fault.New(fault.Internal, "keep it: %w", err)
	}
	defer os.Remove(file + half)
	defer out.Close()
	h, other := sha256.New(), digester(i.Spec.Source.Checksum)
	timed := http.NewResponseController(w)
	body := &metered{r: http.MaxBytesReader(w, r.Body, most), read: func(int64) {
		_ = timed.SetReadDeadline(time.Now().Add(time.Minute))
	}}
	n, err := io.Copy(io.MultiWriter(&roomy{w: out, path: file}, h, other), body)
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return Uploaded{}, fault.New(fault.Invalid, "it has more than %d MiB; no more are taken", most/mib)
		}
		if errors.Is(err, syscall.ENOSPC) || fault.Is(err, fault.Exhausted) {
			return Uploaded{}, noSpace(err)
		}
		return Uploaded{}, fault.New(fault.Unavailable, "it broke off after %d bytes: %w", n, err)
	}
	_ = timed.SetReadDeadline(time.Time{})
	got := "sha256:" + hex.EncodeToString(h.Sum(nil))
	if want := i.Spec.Source.Checksum; want != "" {
		if err := differs(other, want); err != nil {
			return Uploaded{}, err
		}
	}
	if err := s.allowed(i.Project, n); err != nil {
		return Uploaded{}, err
	}
	if n == 0 {
		return Uploaded{}, fault.New(fault.Invalid, "nothing came")
	}
	if err := errors.Join(out.Sync(), out.Close(), os.Rename(file+half, file)); err != nil {
		return Uploaded{}, fault.New(fault.Internal, "keep it: %w", err)
	}
	return Uploaded{Checksum: got, Bytes: n}, nil
}

// BlobHandler gives agents the content of images: GET /v1/agent/blobs/{digest}.
func (s *Service) BlobHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest := r.PathValue("digest")
		f, err := s.Importer.Blobs.Open(digest)
		if to := s.elsewhere(digest); fault.Is(err, fault.NotFound) && to != "" && !httpapi.CallerOf(r.Context()).Server {
			s.Servers.Forward(w, r, to, "/v1/server/blobs/"+digest)
			return
		}
		if err != nil {
			httpapi.Fail(w, r, err)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("ETag", `"`+digest+`"`)
		http.ServeContent(w, r, "", time.Time{}, f)
	})
}

// elsewhere is the host whose server keeps a content that is not here; empty if none is known.
func (s *Service) elsewhere(digest string) resource.ID {
	if s.Servers == nil {
		return ""
	}
	for _, i := range store.Every(s.db.Snapshot(), compute.Images) {
		if i.Status.Has(digest) && i.Status.ServerID != s.Home() {
			return i.Status.ServerID
		}
	}
	return ""
}
