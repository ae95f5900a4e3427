package image

import (
	"context"
	"net/http"
	"slices"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity"
)

// Register offers images, the way to send their content, and blobs for agents.
func (s *Service) Register(a *httpapi.API, specs *store.SpecWriter[compute.ImageSpec, compute.ImageStatus]) {
	httpapi.Register(a, compute.Images, httpapi.Routes[compute.ImageSpec, compute.ImageStatus]{
		Specs: specs, Holders: []string{Holder}, Default: (*compute.ImageSpec).Default, Check: (*compute.ImageSpec).Check, Changing: change, Ready: compute.ImageIsReady, Lending: compute.ImageLending,
		Creating: func(_ context.Context, c *httpapi.Call, i *compute.Image) error {
			if err := mayShow(c, &i.Spec, nil); err != nil {
				return err
			}
			return mayReach(c, &i.Spec.Source)
		},
	})
	a.Raw(httpapi.Op{ID: "upload-image", Method: http.MethodPut, Path: "/v1/projects/{project}/images/{name}/content", Right: httpapi.Write,
		Tag: compute.Images.Plural, Status: http.StatusAccepted, Summary: "Send the content of an image that waits for it"}, s.UploadHandler())
	a.Raw(httpapi.Op{ID: "get-blob", Method: http.MethodGet, Path: "/v1/agent/blobs/{digest}", Right: httpapi.AsHost,
		Tag: "agent", Summary: "Fetch the content of an image"}, s.BlobHandler())
	a.Raw(httpapi.Op{ID: "get-server-blob", Method: http.MethodGet, Path: "/v1/server/blobs/{digest}", Right: httpapi.AsServer,
		Tag: "agent", Summary: "Fetch the content of an image from the server that keeps it"}, s.BlobHandler())
}

// mayShow lets an administrator of the owning project publish an image, and everybody who may write
// in it share one. Was are the projects that it is shared with already: one that went since is no fault of
// who changes something else.
func mayShow(c *httpapi.Call, s *compute.ImageSpec, was []resource.ID) error {
	if s.Visibility == compute.ToCloud && !c.May(httpapi.Admin, c.Project) {
		return fault.New(fault.Denied, "only an administrator of project %s or of the cloud may publish an image for every project; share it with projects by name instead", c.Snapshot.NameOf(c.Project))
	}
	for _, id := range s.SharedWith {
		if !slices.Contains(was, id) && store.Find(c.Snapshot, identity.Projects, id) == nil {
			return fault.New(fault.NotFound, "share the image with project %q: there is none", id)
		}
	}
	slices.Sort(s.SharedWith)
	s.SharedWith = slices.Compact(s.SharedWith)
	return nil
}

// mayReach keeps the cloud's inside from those who are not its operators: the server would fetch for
// them what they cannot reach themselves.
func mayReach(c *httpapi.Call, s *compute.ImageSource) error {
	operator := c.May(httpapi.Admin, "")
	switch {
	case s.Type != compute.URL:
		return nil
	case s.Reach == compute.ReachPrivate && !operator:
		return fault.New(fault.Denied, "only an administrator of the cloud may have the server fetch from private networks")
	case s.Reach != "":
		return nil
	}
	s.Reach = compute.ReachPublic
	if operator {
		s.Reach = compute.ReachPrivate
	}
	return nil
}

func change(ctx context.Context, c *httpapi.Call, old *compute.Image, spec *compute.ImageSpec) error {
	if spec.Visibility != old.Spec.Visibility || !slices.Equal(spec.SharedWith, old.Spec.SharedWith) {
		if err := mayShow(c, spec, old.Spec.SharedWith); err != nil {
			return err
		}
	}
	return compute.ImageChanging(ctx, c, old, spec)
}
