package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

type world struct {
	*testing.T
	db       *store.DB
	clusters *Writer
	hosts    *store.SpecWriter[host.Spec, host.Status]
}

func newWorld(t *testing.T) *world {
	l := store.NewRegistry()
	db := store.NewDB(memory.New(), resource.NewCatalog(Clusters, host.Hosts))
	db.Inline, db.Now = true, func() time.Time { return time.Unix(1_700_000_000, 0) }
	return &world{t, db, NewRight(l), store.Specs(l, host.Hosts, "api")}
}

func (w *world) commit(fill func(*store.Batch, *store.Snapshot) error) error {
	b := w.db.Begin()
	if err := fill(b, w.db.Snapshot()); err != nil {
		return err
	}
	return w.db.Commit(context.Background(), b)
}

// join lets a host in.
func (w *world) join(name, cluster string) error {
	return w.commit(func(b *store.Batch, snap *store.Snapshot) error {
		h := host.New(resource.ID(name), name)
		var err error
		h.Spec.ClusterID, err = Join(snap, cluster)
		w.hosts.Create(b, h)
		return err
	})
}

func TestHostJoinsTheClusterThatItNames(t *testing.T) {
	w := newWorld(t)
	if err := w.join("early", ""); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "virga cluster list") {
		t.Errorf("a cloud without a cluster took a host: %v", err)
	}
	seed := func(b *store.Batch, snap *store.Snapshot) error { EnsureDefault(b, snap, w.clusters); return nil }
	for range 2 { // a second start makes nothing
		if err := w.commit(seed); err != nil {
			t.Fatal(err)
		}
	}
	edge := &Cluster{Meta: resource.Meta{Name: "edge"}}
	if err := w.commit(func(b *store.Batch, _ *store.Snapshot) error { w.clusters.Create(b, edge); return nil }); err != nil {
		t.Fatal(err)
	}
	for name, cluster := range map[string]string{"a": "", "b": "edge"} {
		if err := w.join(name, cluster); err != nil {
			t.Fatal(err)
		}
	}
	snap := w.db.Snapshot()
	if n := len(store.Every(snap, Clusters)); n != 2 {
		t.Errorf("there are %d clusters", n)
	}
	if h := host.Find(snap, "a"); h.Spec.ClusterID != store.Named(snap, Clusters, "", DefaultName).ID {
		t.Errorf("a is in %s", h.Spec.ClusterID)
	}
	if h := host.Find(snap, "b"); h.Spec.ClusterID != edge.ID {
		t.Errorf("b is in %s", h.Spec.ClusterID)
	}
	if err := w.join("c", "none"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

func TestClusterWithHostsIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	if err := w.commit(func(b *store.Batch, snap *store.Snapshot) error { EnsureDefault(b, snap, w.clusters); return nil }); err != nil {
		t.Fatal(err)
	}
	cluster := func() *Cluster { return store.Named(w.db.Snapshot(), Clusters, "", DefaultName) }
	if err := Unused(w.db.Snapshot(), cluster()); err != nil {
		t.Errorf("an empty one is kept: %v", err)
	}
	for _, name := range []string{"h7", "h1", "h2", "h3", "h4", "h5", "h6"} {
		if err := w.join(name, ""); err != nil {
			t.Fatal(err)
		}
	}
	err := Unused(w.db.Snapshot(), cluster())
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "(h1, h2, h3, h4, h5 and others)") || !strings.Contains(err.Error(), "virga host set h1 --cluster") {
		t.Errorf("got %v", err)
	}
}

func TestHostDoesNotComeIntoAClusterThatGoesInThatMoment(t *testing.T) {
	w := newWorld(t)
	if err := w.commit(func(b *store.Batch, snap *store.Snapshot) error { EnsureDefault(b, snap, w.clusters); return nil }); err != nil {
		t.Fatal(err)
	}
	err := w.commit(func(b *store.Batch, snap *store.Snapshot) error {
		h := host.New("late", "late")
		var err error
		if h.Spec.ClusterID, err = Join(snap, ""); err != nil {
			return err
		}
		w.hosts.Create(b, h)
		// Between the look and the commit somebody deletes the cluster, which has no host yet.
		return w.commit(func(b *store.Batch, snap *store.Snapshot) error {
			w.clusters.Delete(b, store.Named(snap, Clusters, "", DefaultName))
			return nil
		})
	})
	if !fault.Is(err, fault.NotFound) || host.Find(w.db.Snapshot(), "late") != nil {
		t.Errorf("got %v", err)
	}
}

func TestClusterIsNotDeletedWhileAHostJoinsIt(t *testing.T) {
	w := newWorld(t)
	if err := w.commit(func(b *store.Batch, snap *store.Snapshot) error { EnsureDefault(b, snap, w.clusters); return nil }); err != nil {
		t.Fatal(err)
	}
	err := w.commit(func(b *store.Batch, snap *store.Snapshot) error {
		x := store.Named(snap, Clusters, "", DefaultName)
		if err := Unused(snap, x); err != nil {
			return err
		}
		w.clusters.Delete(b, x)
		return w.join("quick", "") // between the look and the commit
	})
	if !fault.Is(err, fault.Precondition) || store.Named(w.db.Snapshot(), Clusters, "", DefaultName) == nil {
		t.Errorf("got %v", err)
	}
}

func TestSettingsOfAClusterAreJudged(t *testing.T) {
	good := Spec{}
	Default(&good)
	if wrong := Check(&good); len(wrong) != 0 || good.CPUOvercommitPercent != 400 || good.MemoryOvercommitPercent != 100 {
		t.Errorf("%+v: %v", good, wrong)
	}
	for field, s := range map[string]Spec{
		"spec.cpuOvercommitPercent":    {CPUOvercommitPercent: 9, MemoryOvercommitPercent: 100},
		"spec.memoryOvercommitPercent": {CPUOvercommitPercent: 100, MemoryOvercommitPercent: 3201},
	} {
		if wrong := Check(&s); len(wrong) != 1 || wrong[0].Field != field || !strings.Contains(wrong[0].Message, "between 10 and 3200") {
			t.Errorf("%s: %v", field, wrong)
		}
	}
}

func TestRatioOfAHostComesBeforeThatOfItsCluster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		percent := rapid.SampledFrom([]int64{0, 10, 100, 150, 3200})
		h := host.Spec{CPUOvercommitPercent: percent.Draw(t, "own cpu"), MemoryOvercommitPercent: percent.Draw(t, "own memory")}
		var of *Spec
		if rapid.Bool().Draw(t, "known") {
			of = &Spec{CPUOvercommitPercent: percent.Draw(t, "cpu"), MemoryOvercommitPercent: percent.Draw(t, "memory")}
		}
		first := func(values ...int64) int64 {
			for _, v := range values {
				if v != 0 {
					return v
				}
			}
			return 0
		}
		from := Spec{}
		if of != nil {
			from = *of
		}
		cpu, memory := Ratios(&h, of)
		if want := first(h.CPUOvercommitPercent, from.CPUOvercommitPercent, 400); cpu != want {
			t.Errorf("CPU: %d, not %d", cpu, want)
		}
		if want := first(h.MemoryOvercommitPercent, from.MemoryOvercommitPercent, 100); memory != want {
			t.Errorf("memory: %d, not %d", memory, want)
		}
	})
}
