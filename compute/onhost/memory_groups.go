package onhost

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/resource"
)

// MemoryGroups are the control groups of guests, and what they may hold of the host's memory, in bytes.
type MemoryGroups interface {
	// SetMemoryProtection keeps what is reserved from being taken at all, and a part of it from being taken while
	// others have more than theirs. A group only keeps what those around it keep.
	SetMemoryProtection(name string, reserved, part int64) error
	// SetMemoryWall lets the kernel swap what a group holds beyond it; 0: none.
	SetMemoryWall(name string, bytes int64) error
	// SetMemoryLimit is what a group never holds more of: where nothing can be swapped, one in it is killed; 0: none.
	SetMemoryLimit(name string, bytes int64) error
	// SetKillOrder says whose processes the kernel kills first where memory is out, -1000 (never) to 1000 (first).
	SetKillOrder(name string, score int64) error
}

// memoryGroup is what one control group is to be given.
type memoryGroup struct {
	reserved, part, wall, limit int64
	kill                        int64 // 0: as it is
}

// Guests are killed before anything else of the host, and first those of whose memory the least is reserved.
const killFirst, killLast = 900, 300

// groupMemory gives each group what it holds, by name. A group around others keeps what those in it keep. The
// slice of all guests, "", is stopped halfway through what is for the host itself: when nothing helps, the kernel
// kills a guest, and never the host's own programs.
func groupMemory(f memoryFacts, parts []memoryPart, names map[resource.ID]string) map[string]memoryGroup {
	out := map[string]memoryGroup{"": {limit: f.all + f.kept/2}}
	for i, p := range parts {
		name, grouped := names[p.id]
		if !grouped {
			continue
		}
		g := f.guests[i]
		reserved, part := min(g.reservation, p.target), p.target+g.overhead()
		for above := name; above != ""; {
			above = above[:max(0, strings.LastIndexByte(above, '/'))]
			around := out[above]
			around.reserved, around.part = around.reserved+reserved, around.part+part
			out[above] = around
		}
		out[name] = memoryGroup{reserved: reserved, part: part, wall: p.wall, kill: killFirst - (killFirst-killLast)*g.reservation/max(g.memory, 1)}
	}
	return out
}

// grouped names the group of each guest; none where they are not held.
func (d *MemoryDivider) grouped() map[resource.ID]string {
	if d.groups == nil {
		return nil
	}
	return d.balloons.(Grouper).Grouped() // NewMemoryDivider saw to it
}

// hold writes what differs from what groups were given before, those around others first. What the kernel
// refuses is tried again. Parts move a little with each look; they are written when somebody would notice.
func (d *MemoryDivider) hold(plan map[string]memoryGroup, seen map[resource.ID]seenMemory, parts []memoryPart) error {
	if d.groups == nil {
		return nil
	}
	names := d.grouped()
	for _, p := range parts {
		if s, there := seen[p.id]; there && names[p.id] != "" {
			s.wall = p.wall
			seen[p.id] = s
		}
	}
	var failed []error
	given := map[string]memoryGroup{}
	for _, name := range slices.Sorted(maps.Keys(plan)) {
		g := plan[name]
		before, there := d.given[name]
		if there && g.part-before.part < leastStep && before.part-g.part < leastStep {
			g.part = before.part
		}
		if err := d.write(name, g, before, there); err != nil {
			failed = append(failed, err)
			continue
		}
		given[name] = g
	}
	d.given = given
	return errors.Join(failed...)
}

func (d *MemoryDivider) write(name string, g, before memoryGroup, there bool) error {
	var failed []error
	if !there || g.reserved != before.reserved || g.part != before.part {
		failed = append(failed, d.groups.SetMemoryProtection(name, g.reserved, g.part))
	}
	if g.wall != before.wall {
		failed = append(failed, d.groups.SetMemoryWall(name, g.wall))
	}
	if g.limit != before.limit {
		failed = append(failed, d.groups.SetMemoryLimit(name, g.limit))
	}
	if g.kill != before.kill {
		failed = append(failed, d.groups.SetKillOrder(name, g.kill))
	}
	return errors.Join(failed...)
}
