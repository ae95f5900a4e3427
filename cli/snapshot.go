package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func snapshots() *noun {
	return &noun{api: client.As[record](client.VolumeSnapshots), typed: "snapshot", says: "snapshot", aliases: []string{"snapshots", "snap"}, group: groupStorage, sample: "before-upgrade",
		short: "What volumes held at one moment", long: "A snapshot is taken of a volume that no VM has open, and costs nothing until something is written.\n" +
			"The volume goes back to it any number of times; it is deleted in any order.",
		verbs: everyVerb, commands: snapshotCommands, states: []string{"pending"},
		columns: []column{
			state("State"), name("Volume", "volume", at(&snapshotOf.Spec.VolumeID)), sized("Size", at(&snapshotOf.Status.SizeMiB)),
			computed("Used", func(s *lookup, r *record) string { return size(layerUse(s, r)) }), since("Taken", at(&snapshotOf.Status.TakenAt)),
			field("Layer", at(&snapshotOf.Status.LayerID)).only(), trouble(),
		}}
}

// layerUse is the space that the layer of a snapshot takes.
func layerUse(s *lookup, r *record) int64 {
	all, _ := s.listOnce(s.ctx, "volume", r.Project)
	for _, v := range all {
		for _, l := range layersOf(v) {
			if v.ID == r.text(at(&snapshotOf.Spec.VolumeID)) && l.id == r.text(at(&snapshotOf.Status.LayerID)) {
				return l.used
			}
		}
	}
	return 0
}

func snapshotCommands(s *session, n *noun) []*cobra.Command {
	return []*cobra.Command{s.snapshotCreate(n), s.snapshotRevert(n), s.snapshotTree()}
}

func (s *session) snapshotCreate(n *noun) *cobra.Command {
	var of string
	c := &cobra.Command{Use: "create NAME --volume VOLUME", Short: "Take a snapshot of a volume", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Long:    "Take a snapshot of a volume. No VM may have the volume open: stop its VM first.",
		Example: "  virga snapshot create before-upgrade --volume web-disk0 --wait"}
	c.Flags().StringVar(&of, "volume", "", "the volume whose content is kept")
	s.completeFlag(c, "volume", "volume")
	m := addMaking(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if of == "" {
			return refuse("%s: say --volume, for example --volume web-disk0", called(cmd))
		}
		return s.create(cmd, n, args[0], map[string]any{key(&snapshotOf.Spec.VolumeID): of}, m)
	}
	return c
}

func (s *session) snapshotRevert(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "revert NAME", Short: "Give a volume the content of a snapshot again", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Give a volume the content of a snapshot again. What was written since its last snapshot is given up;\n" +
			"all snapshots stay. No VM may have the volume open.",
		Example: "  virga snapshot revert before-upgrade --wait"}
	p := addPatience(c, "the volume has that content")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := s.get(cmd.Context(), n, s.project, args[0])
		if err != nil {
			return err
		}
		v := &record{}
		path := s.path(volumes(), r.Project, r.text(at(&snapshotOf.Spec.VolumeID))) + "/revert"
		if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: path, In: client.RevertRequest{SnapshotID: r.ID}, Out: v}); err != nil {
			return err
		}
		if p.wait {
			if v, err = s.ready(cmd, volumes(), v, p.limit); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "volume %s has the content of snapshot %s again\n", v.Name, r.Name)
			return nil
		}
		fmt.Fprintf(cmd.OutOrStdout(), "volume %s goes back to snapshot %s\n", v.Name, r.Name)
		return nil
	}
	return c
}

// treeLayer is a layer of a volume, for people: what it is called, and what it builds on.
type treeLayer struct {
	id, parent, called string
	used               int64
}

func layersOf(v *record) (out []treeLayer) {
	for _, l := range v.list(at(&volumeOf.Status.Layers)) {
		used, _ := strconv.ParseInt(member(l, "usedMiB"), 10, 64)
		out = append(out, treeLayer{id: member(l, "id"), parent: member(l, "parentID"), used: used})
	}
	return out
}

func (s *session) snapshotTree() *cobra.Command {
	return &cobra.Command{Use: "tree [VOLUME...]", Short: "Draw the snapshots of volumes as trees", Args: cobra.ArbitraryArgs, ValidArgsFunction: s.completeNames(volumes(), 0),
		Long: "Draw the snapshots of volumes as trees: each stands below the one on which it builds. \"now\" is what a VM\n" +
			"reads and writes. Without a name: all volumes that have snapshots.",
		Example: "  virga snapshot tree\n  virga snapshot tree web-disk0",
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := s.list(cmd.Context(), snapshots(), s.project)
			if err != nil {
				return err
			}
			vols, err := s.treeVolumes(cmd.Context(), args)
			if err != nil {
				return err
			}
			for _, v := range vols {
				names := map[string]string{}
				for _, r := range all {
					if r.text(at(&snapshotOf.Spec.VolumeID)) == v.ID {
						names[r.text(at(&snapshotOf.Status.LayerID))] = r.Name
					}
				}
				if len(names) > 0 || len(args) > 0 {
					fmt.Fprintln(cmd.OutOrStdout(), v.Name)
					draw(cmd.OutOrStdout(), named(layersOf(v), names, v.text(at(&volumeOf.Status.ActiveLayer))), "", "")
				}
			}
			return nil
		}}
}

func (s *session) treeVolumes(ctx context.Context, names []string) ([]*record, error) {
	if len(names) == 0 {
		return s.list(ctx, volumes(), s.project)
	}
	var out []*record
	for _, name := range names {
		v, err := s.get(ctx, volumes(), s.project, name)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// named are the layers that people know, each on the nearest below it that they know.
func named(all []treeLayer, names map[string]string, active string) []treeLayer {
	called := func(id string) string {
		if id == active {
			return "now"
		}
		return names[id]
	}
	find := func(id string) int { return slices.IndexFunc(all, func(l treeLayer) bool { return l.id == id }) }
	var out []treeLayer
	for _, l := range all {
		if l.called = called(l.id); l.called == "" {
			continue
		}
		for steps := 0; l.parent != "" && called(l.parent) == "" && steps < len(all); steps++ {
			below := find(l.parent)
			if below < 0 {
				l.parent = ""
				break
			}
			l.parent = all[below].parent
		}
		out = append(out, l)
	}
	return out
}

// draw draws the layers that build on one.
func draw(out io.Writer, all []treeLayer, on, indent string) {
	var above []treeLayer
	for _, l := range all {
		if l.parent == on {
			above = append(above, l)
		}
	}
	for i, l := range above {
		branch, further := "├─ ", "│  "
		if i == len(above)-1 {
			branch, further = "└─ ", "   "
		}
		fmt.Fprintf(out, "%s%s%s  %s\n", indent, branch, l.called, size(l.used))
		draw(out, all, l.id, indent+further)
	}
}
