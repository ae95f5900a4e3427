package main

import (
	"context"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
)

type imageService struct{ s *server }

func newImageService(s *server) (*imageService, error) { return &imageService{s}, nil }
func (i *imageService) definition() operation.Definition {
	return operation.Definition{Type: "image.import", Steps: []operation.Step{{Name: "x", Do: func(context.Context, *operation.Run) error { return nil }}}}
}
func (i *imageService) loop() *reconcile.Loop {
	return &reconcile.Loop{Name: "x", Kind: compute.Images.Kind, Step: func(context.Context, resource.ID) (reconcile.Result, error) { return reconcile.Result{}, nil }}
}
func (i *imageService) register(a *httpapi.API) {}
