package reconcile_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
	"github.com/virga-cloud/virga/engine/store/memory"
)

type desired struct {
	MemoryMiB int64             `json:"memoryMiB"`
	Disks     []string          `json:"disks"`
	Extra     map[string]string `json:"extra"`
}

type seen struct {
	resource.Observed
	State string `json:"state"`
}

type vm = resource.Record[desired, seen]

var vms = resource.Define("vm", "vms", resource.Options[desired, seen]{Scope: resource.InProject})

// BenchmarkReconcile creates records and waits until a loop has written each one's status: a
// record a time is one creation, one step, one status, and the step that finds nothing to do.
func BenchmarkReconcile(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchmark(b, memory.New()) })
	b.Run("etcd", func(b *testing.B) {
		s, err := etcd.Open(b.Context(), etcd.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		benchmark(b, s)
	})
}

func benchmark(b *testing.B, s store.Store) {
	db := store.NewDB(s, resource.NewCatalog(vms))
	registry := store.NewRegistry()
	specs, statuses := store.Specs(registry, vms, "user"), store.Statuses(registry, vms, "loop")
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan struct{})
	loop := &reconcile.Loop{Name: "vm", Kind: vms.Kind, Resync: -1, Workers: 32}
	loop.Step = func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
		m := store.Find(db.Snapshot(), vms, id)
		if m == nil || m.Status.SeenGeneration == m.Generation {
			return reconcile.Result{}, nil
		}
		batch := db.Begin()
		statuses.Set(batch, m, func(s *seen) { s.SeenGeneration, s.State = m.Generation, "running" })
		if err := db.Commit(ctx, batch); err != nil {
			return reconcile.Result{}, err
		}
		if left.Add(-1) == 0 {
			close(done)
		}
		return reconcile.Result{}, nil
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	runner := reconcile.NewRunner(db, loop)
	wg.Go(func() { _ = db.Run(ctx) })
	wg.Go(func() { runner.Run(ctx) })
	b.ResetTimer()
	var next atomic.Int64
	for range 16 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				batch := db.Begin()
				specs.Create(batch, &vm{Meta: resource.Meta{Project: "p", Name: fmt.Sprint("m", i)}, Spec: desired{MemoryMiB: 512, Disks: []string{"a", "b"}}})
				if err := db.Commit(ctx, batch); err != nil {
					b.Error(err)
				}
			}
		})
	}
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	cancel()
	wg.Wait()
}
