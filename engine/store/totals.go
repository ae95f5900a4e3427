package store

import "github.com/virga-cloud/virga/engine/resource"

// total is a sum over the records of a project.
type total struct {
	key string // project + "\x00" + name
	sum int64
}

// count brings the totals up to date with one change: nobody has to count ten thousand records to
// let one more in.
func (p *picture) count(kind resource.Descriptor, d Delta) {
	diff := map[string]int64{}
	for sign, x := range map[int64]resource.Object{-1: d.Old, 1: d.New} {
		if x == nil {
			continue
		}
		head := x.Head()
		diff[string(head.Project)+"\x00"+ofKind(head.Kind)] += sign
		for _, name := range kind.Totals {
			diff[string(head.Project)+"\x00"+name] += sign * kind.Count(x, name)
		}
	}
	for key, n := range diff {
		if n == 0 {
			continue
		}
		there, _ := p.totals.Get(total{key: key})
		p.totals.Set(total{key, there.sum + n})
	}
}

// ofKind is the name under which the records of a kind are counted; no kind's own total is called so.
func ofKind(kind resource.Kind) string { return "\x00" + string(kind) }

// Total is the sum of what the records of a project count under a name.
func (s *Snapshot) Total(project resource.ID, name string) int64 {
	there, _ := s.totals.Get(total{key: string(project) + "\x00" + name})
	return there.sum
}

// Growth is by how much a batch changes the totals of a project.
func (d *DB) Growth(s *Snapshot, b *Batch, project resource.ID) map[string]int64 {
	out := map[string]int64{}
	for _, ref := range b.order {
		if ref.Project != project {
			continue
		}
		kind, known := d.catalog.Lookup(ref.Kind)
		if !known {
			continue
		}
		if now := b.work[ref].object; now.Head().Deleting == nil || len(now.Head().Holders) > 0 {
			for _, name := range kind.Totals {
				out[name] += kind.Count(now, name)
			}
		}
		if old := s.Lookup(ref.ID); old != nil {
			for _, name := range kind.Totals {
				out[name] -= kind.Count(old, name)
			}
		}
	}
	return out
}
