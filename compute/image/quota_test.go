package image

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/storage"
)

func TestImagesCountInTheQuotaOfDisk(t *testing.T) {
	s := newServer(t)
	b := s.db.Begin()
	p := store.Named(s.db.Snapshot(), identity.Projects, "", "p")
	store.Specs(store.NewRegistry(), identity.Projects, "api").Set(b, p, func(s *identity.ProjectSpec) { s.Quota = identity.Quota{storage.CountDiskMiB: 4} })
	if err := s.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("PUT /v1/projects/{project}/images/{name}/content", s.UploadHandler())
	web := httptest.NewServer(mux)
	defer web.Close()
	s.create(compute.ImageSource{Type: compute.Upload})
	for _, told := range []bool{true, false} {
		body := io.Reader(bytes.NewReader(make([]byte, 5*mib)))
		if !told {
			body = io.MultiReader(body)
		}
		req, _ := http.NewRequest("PUT", web.URL+"/v1/projects/p/images/web/content", body)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode < 400 || !strings.Contains(string(text), "5 more are wanted, the quota is 4") {
			t.Errorf("told %v: %d %s", told, res.StatusCode, text)
		}
	}
	if left := s.staged(); len(left) > 0 {
		t.Errorf("left of what was refused: %v", left)
	}
	// One that is there counts as a volume does.
	i := &compute.Image{Meta: resource.Meta{Name: "other", Project: "p"}}
	b = s.db.Begin()
	s.images.Create(b, i)
	s.statuses.Set(b, i, func(t *compute.ImageStatus) {
		t.SizeMiB, t.DataDisks = 2, []compute.ImageDisk{{SizeMiB: 1}}
	})
	if err := s.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if n := s.db.Snapshot().Total("p", storage.CountDiskMiB); n != 3 {
		t.Errorf("3 MiB of images count as %d", n)
	}
	if err := s.allowed("p", mib); err != nil {
		t.Error(err)
	}
	if err := s.allowed("p", mib+1); !fault.Is(err, fault.Exhausted) {
		t.Errorf("error is %v", err)
	}
}
