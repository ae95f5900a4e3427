package store

import (
	"maps"
	"slices"
	"sync"

	"github.com/virga-cloud/virga/engine/resource"
)

// Quota gives what refuses the growth of a project's totals, by their names; nil where nothing is limited.
type Quota func(s *Snapshot, project resource.ID) func(growth map[string]int64) error

// The totals of a project are no record: the view makes them of the records, so that they cannot be
// wrong. A quota is judged by them, and the commit is held to what was judged: all that grow in a
// project with a quota take turns by one key, whichever server they go through. What shrinks does not.

// turnKey is written by all that grow in a project with a quota.
func turnKey(project resource.ID) resource.Ref {
	return TouchKey(resource.Ref{Kind: "quota", ID: project})
}

// growing gives by how much a batch raises the totals, by project; the projects where nothing rises are
// left out.
func (d *DB) growing(s *Snapshot, b *Batch) map[resource.ID]map[string]int64 {
	out := map[resource.ID]map[string]int64{}
	for _, ref := range b.order {
		if _, seen := out[ref.Project]; !seen && ref.Project != "" {
			out[ref.Project] = d.Growth(s, b, ref.Project)
		}
	}
	maps.DeleteFunc(out, func(_ resource.ID, growth map[string]int64) bool {
		return !slices.ContainsFunc(slices.Collect(maps.Values(growth)), func(n int64) bool { return n > 0 })
	})
	return out
}

// inLine lets the batches of this server that grow in one project with a quota wait for each other,
// instead of failing each other's commits.
func (d *DB) inLine(b *Batch) (leave func()) {
	var held []*sync.Mutex
	if d.Quota != nil {
		s := d.Snapshot()
		for _, project := range slices.Sorted(maps.Keys(d.growing(s, b))) {
			if d.Quota(s, project) == nil {
				continue
			}
			line, _ := d.lines.LoadOrStore(project, &sync.Mutex{})
			line.(*sync.Mutex).Lock()
			held = append(held, line.(*sync.Mutex))
		}
	}
	return func() {
		for _, line := range held {
			line.Unlock()
		}
	}
}

// grow judges what a batch adds to the totals of projects. The project is held as it is seen, lest it be
// given a quota, or another, at this moment.
func (v *derivation) grow(d *DB, b *Batch) error {
	if d.Quota == nil {
		return nil
	}
	for project, growth := range d.growing(v.snap, b) {
		if p := v.tenant(project); p != nil && v.works[project] == nil {
			v.once(Change{Key: p.Head().Ref(), Op: Check, Expect: Present, Since: v.snap.revision})
		}
		judge := d.Quota(v.snap, project)
		if judge == nil {
			continue
		}
		if err := judge(growth); err != nil {
			return err
		}
		v.once(Change{Key: turnKey(project), Op: Put, Expect: Any, Since: v.snap.revision})
	}
	return nil
}
