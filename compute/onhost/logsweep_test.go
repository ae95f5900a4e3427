package onhost_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
)

// shelf keeps the logs of VMs.
type shelf struct{ kept []resource.ID }

func (s *shelf) Log(context.Context, resource.ID, compute.LogOptions) (io.ReadCloser, error) {
	return nil, errors.New("nobody reads here")
}
func (s *shelf) Logged() ([]resource.ID, error) { return slices.Clone(s.kept), nil }
func (s *shelf) RemoveLog(id resource.ID) error {
	s.kept = slices.DeleteFunc(s.kept, func(k resource.ID) bool { return k == id })
	return nil
}

func TestALogGoesWithItsVMAndNotBefore(t *testing.T) {
	w := newWorld(t)
	here := w.get(w.instance(w.hostA, compute.RunRunning)).Spec.VMID
	elsewhere, deleted, foreign := resource.NewID(), resource.NewID(), resource.NewID()
	logs := &shelf{kept: []resource.ID{here, elsewhere, deleted}}
	var asked []resource.ID
	var answer []resource.ID
	var heard error
	s := &onhost.LogSweeper{Known: reconcile.Knowledge{DB: w.db}, Logs: logs, Gone: func(_ context.Context, ids []resource.ID) ([]resource.ID, error) {
		asked = append(asked, ids...)
		return answer, heard
	}}
	answer, heard = []resource.ID{deleted}, errors.New("no server is reachable")
	if err := s.Sweep(t.Context()); err == nil || len(logs.kept) != 3 {
		t.Fatalf("without a server %v is kept, %v", logs.kept, err)
	}
	answer, heard, asked = []resource.ID{deleted, here, foreign}, nil, nil
	w.must(s.Sweep(t.Context()))
	if !slices.Equal(asked, []resource.ID{elsewhere, deleted}) {
		t.Errorf("asked about %v: a VM that is here is not gone", asked)
	}
	if !slices.Equal(logs.kept, []resource.ID{here, elsewhere}) {
		t.Errorf("kept are %v", logs.kept)
	}
	logs.kept, asked = nil, nil
	for range 1200 {
		logs.kept = append(logs.kept, resource.NewID())
	}
	answer = slices.Clone(logs.kept[:700])
	w.must(s.Sweep(t.Context()))
	if len(asked) != 1200 || len(logs.kept) != 500 {
		t.Errorf("asked about %d, and %d are kept", len(asked), len(logs.kept))
	}
	asked, logs.kept = nil, nil
	w.must(s.Sweep(t.Context()))
	if asked != nil {
		t.Error("a host without logs asks")
	}
}
