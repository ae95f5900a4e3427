package store

import "github.com/virga-cloud/virga/engine/resource"

// total is a sum over the records of a project.
type total struct {
	key string // project + "\x00" + name
	sum int64
}

// count brings the totals up to date with changes: nobody has to count ten thousand records to let one more in.
func (p *picture) count(kinds []*resource.Descriptor, deltas []Delta) {
	diff := map[totalKey]int64{}
	for i, d := range deltas {
		addTotals(diff, kinds[i], d.Old, -1)
		addTotals(diff, kinds[i], d.New, 1)
	}
	for k, n := range diff {
		if n == 0 {
			continue
		}
		key := string(k.project) + "\x00" + k.name
		there, _ := p.totals.Get(total{key: key})
		p.totals.Set(total{key, there.sum + n})
	}
}

type totalKey struct {
	project resource.ID
	name    string
}

func addTotals(diff map[totalKey]int64, kind *resource.Descriptor, x resource.Object, sign int64) {
	if x == nil {
		return
	}
	project := x.Head().Project
	diff[totalKey{project, ofKind(x.Head().Kind)}] += sign
	for _, name := range kind.Totals {
		diff[totalKey{project, name}] += sign * kind.Count(x, name)
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
