package bench

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/wiring"
)

// BenchmarkViewOfManyVMs reads a cloud of VMs with all their records, and says what the view of one VM takes,
// and what a page of a project's VMs does.
func BenchmarkViewOfManyVMs(b *testing.B) {
	const count = 20_000
	for range b.N {
		truth := memory.New()
		writeMany(b, truth, count)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		db := store.NewDB(truth, wiring.Catalog())
		began := time.Now()
		if err := db.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
		read := time.Since(began)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if n := len(db.NotUnderstood()); n > 0 {
			b.Fatalf("%d records are not understood", n)
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/count/1024, "KiB/VM")
		b.ReportMetric(float64(read.Microseconds())/count, "µs-read/VM")
		began = time.Now()
		taken := 0
		for range store.InProject(db.Snapshot(), compute.VMs, "p3", "") {
			if taken++; taken == 200 {
				break
			}
		}
		b.ReportMetric(float64(time.Since(began).Microseconds()), "µs/page")
		runtime.KeepAlive(db)
	}
}
