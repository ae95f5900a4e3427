package image

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// Register offers images, the way to send their content, and blobs for agents.
func (s *Service) Register(a *httpapi.API, specs *store.SpecWriter[compute.ImageSpec, compute.ImageStatus]) {
	httpapi.Register(a, compute.Images, httpapi.Routes[compute.ImageSpec, compute.ImageStatus]{
		Specs: specs, Holders: []string{Holder}, Default: defaults, Check: s.checkSpec, Changing: change, Ready: ready,
		Input: httpapi.Creating(func(_ context.Context, c *httpapi.Call, in *httpapi.Draft[compute.ImageSpec]) (*compute.Image, error) {
			i := &compute.Image{Meta: resource.Meta{Name: in.Name, Labels: in.Labels, Project: c.Project, ID: resource.NewID()}, Spec: in.Spec}
			defaults(&i.Spec)
			if err := fault.Fields("create image "+in.Name, s.checkSpec(&i.Spec)); err != nil {
				return nil, err
			}
			if err := mayShow(c, &i.Spec); err != nil {
				return nil, err
			}
			specs.Create(c.Batch, i, Holder)
			return i, nil
		}),
	})
	a.Raw(httpapi.Op{ID: "upload-image", Method: http.MethodPut, Path: "/v1/projects/{project}/images/{name}/content", Right: httpapi.Write,
		Tag: compute.Images.Plural, Status: http.StatusAccepted, Summary: "Send the content of an image that waits for it"}, s.UploadHandler())
	a.Raw(httpapi.Op{ID: "get-blob", Method: http.MethodGet, Path: "/v1/agent/blobs/{digest}", Right: httpapi.AsHost,
		Tag: "agent", Summary: "Fetch the content of an image"}, s.BlobHandler())
}

func defaults(s *compute.ImageSpec) {
	if s.Visibility == "" {
		s.Visibility = "project"
	}
}

func (s *Service) checkSpec(i *compute.ImageSpec) []fault.Detail {
	var out []fault.Detail
	wrong := func(field, message string) { out = append(out, fault.Detail{Field: field, Message: message}) }
	source := i.Source
	switch source.Type {
	case compute.Upload:
	case compute.URL:
		if err := CheckURL(source.URL); err != nil {
			wrong("spec.source.url", err.Error())
		}
	case compute.Build:
		if s.Recipes[source.Recipe] == nil {
			wrong("spec.source.recipe", "there is no such recipe; there are: "+strings.Join(slices.Sorted(maps.Keys(s.Recipes)), ", "))
		}
	default:
		wrong("spec.source.type", "must be upload, url or build")
	}
	if source.URL != "" && source.Type != compute.URL {
		wrong("spec.source.url", "is for images of type url")
	}
	if source.Recipe != "" && source.Type != compute.Build {
		wrong("spec.source.recipe", "is for images of type build")
	}
	if source.Checksum != "" {
		if err := storage.CheckDigest(source.Checksum); err != nil || source.Type == compute.Build {
			wrong("spec.source.checksum", `is "sha256:" and 64 hex digits, for what is sent or fetched`)
		}
	}
	if i.Visibility != "project" && i.Visibility != "cloud" {
		wrong("spec.visibility", "must be project or cloud")
	}
	if i.MinMemoryMiB < 0 || i.MinMemoryMiB > 1<<30 {
		wrong("spec.minMemoryMiB", "makes no sense")
	}
	return out
}

// mayShow lets only administrators of the cloud show an image to every tenant.
func mayShow(c *httpapi.Call, s *compute.ImageSpec) error {
	if s.Visibility == "cloud" && !c.May(httpapi.Admin, "") {
		return fault.New(fault.Denied, "only an administrator of the cloud may make an image visible to every project")
	}
	return nil
}

func change(_ context.Context, c *httpapi.Call, old *compute.Image, spec *compute.ImageSpec) error {
	if spec.Source != old.Spec.Source {
		return fault.New(fault.Invalid, "change image %s: its source stays; make another image", old.Name)
	}
	if spec.Visibility != old.Spec.Visibility {
		return mayShow(c, spec)
	}
	return nil
}

func ready(i *compute.Image) (bool, error) {
	if i.Status.Phase == compute.ImageFailed && len(i.Status.Problems) > 0 {
		return false, fault.New(fault.Kind(i.Status.Problems[0].Kind), "image %s: %s", i.Name, i.Status.Problems[0].Message)
	}
	return i.Status.Phase == compute.ImageReady, nil
}
