package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/virga-cloud/virga/client"
)

func vms() *noun {
	return &noun{api: client.As[record](client.VMs), group: groupVMs, sample: "web", short: "Virtual machines",
		long: "A VM has a desired power (start, stop, pause) that the cloud keeps true: a guest that\n" +
			"crashes is started again, one that powers itself off stays off until the next start.",
		verbs: everyVerb, commands: vmCommands,
		states: []string{"running", "stopped", "paused", "crashed"}, own: vmGoals(), goalHelp: vmGoalHelp,
		columns: []column{
			state("State"), name("Host", "host", at(&vmOf.Status.HostID)), field("Addresses", at(&vmOf.Status.Addresses)),
			field("CPUs", at(&vmOf.Spec.CPUs)), sized("Memory", at(&vmOf.Spec.MemoryMiB)), name("Image", "image", at(&vmOf.Spec.ImageID)),
			computed("Disks", disksText).only(), computed("Networks", nicsText).only(),
			field("Power", at(&vmOf.Spec.Power)).wide(), field("Restart", at(&vmOf.Spec.RestartPolicy)).wide(), field("Accelerator", at(&vmOf.Status.Accelerator)).wide(),
			since("Running", at(&vmOf.Status.StartedAt)).wide(), field("Crashes", at(&vmOf.Status.Crashes)).only(), field("Ended", at(&vmOf.Status.EndedWhy)).only(),
			field("Hostname", at(&vmOf.Spec.Hostname)).only(), field("Boots", at(&vmOf.Status.Boot)).only(), name("Pool", "resourcepool", at(&vmOf.Spec.PoolID)).only(), name("Affinity rules", "affinityrule", at(&vmOf.Spec.AffinityRuleIDs)).only(), name("Pinned to", "host", at(&vmOf.Spec.HostID)).only(), field("NUMA", at(&vmOf.Spec.NUMA)).only(),
			name("Operation", "operation", at(&vmOf.Status.OperationID)).only(), field("Description", at(&vmOf.Spec.Description)).only(), trouble(),
		}}
}

func disksText(s *lookup, r *record) string {
	var out []string
	volumes := map[string]*record{}
	if all, err := s.list(s.ctx, nounOf("volume"), r.Project); err == nil {
		for _, v := range all {
			volumes[v.ID] = v
		}
	}
	for _, d := range r.list(at(&vmOf.Status.Disks)) {
		v := volumes[member(d, "volumeID")]
		if v == nil {
			out = append(out, short(member(d, "volumeID")))
			continue
		}
		out = append(out, fmt.Sprintf("%s: %s, %s, %s", member(d, "name"), v.Name, size(v.number(at(&volumeOf.Spec.SizeMiB))), v.state()))
	}
	return strings.Join(out, "\n")
}

func nicsText(s *lookup, r *record) string {
	var out []string
	ports := map[string]*record{}
	if all, err := s.list(s.ctx, nounOf("port"), r.Project); err == nil {
		for _, p := range all {
			ports[p.ID] = p
		}
	}
	for _, n := range r.list(at(&vmOf.Status.NICs)) {
		p := ports[member(n, "portID")]
		if p == nil {
			out = append(out, short(member(n, "portID")))
			continue
		}
		network := s.nameOf(s.ctx, "network", r.Project, p.text(at(&portOf.Spec.NetworkID)))
		out = append(out, fmt.Sprintf("%s: %s, %s, %s", member(n, "name"), network, p.text(at(&portOf.Status.Address)), p.text(at(&portOf.Status.MAC))))
	}
	return strings.Join(out, "\n")
}

func vmCommands(s *session, n *noun) []*cobra.Command {
	forced := "do not wait for the guest"
	return append([]*cobra.Command{
		s.vmCreate(n),
		s.powerCommand(n, "start", "Start VMs", "", "is started"),
		s.powerCommand(n, "stop", "Ask the guests to power off, and stop them", forced, "is asked to stop"),
		s.powerCommand(n, "restart", "Restart VMs", forced, "is restarted"),
		s.powerCommand(n, "pause", "Pause VMs: they stay in memory", "", "is paused"),
		s.powerCommand(n, "resume", "Resume paused VMs", "", "is resumed"),
		s.vmMigrate(n), s.vmResize(n), s.vmConsole(n), s.vmScreenshot(n), s.vmLog(n), s.vmTop(n),
	}, slices.Concat(s.attachCommands(n), s.deviceCommands(n), s.insideCommands(n))...)
}

// powerCommand is a verb that changes the desired power of a VM.
func (s *session) powerCommand(n *noun, verb, summary, forced, done string) *cobra.Command {
	var force bool
	c := &cobra.Command{Use: verb + " NAME...", Short: summary, Args: atLeast("NAME"), ValidArgsFunction: s.completeNames(n, -1),
		Example: "  virga vm " + verb + " web --wait"}
	if forced != "" {
		c.Flags().BoolVar(&force, "force", false, forced)
		c.Example += "\n  virga vm " + verb + " web --force"
	}
	p := addPatience(c, "the VM has the desired power state")
	if verb == "start" || verb == "restart" || verb == "resume" {
		addWaitFor(c, n, p)
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return each(cmd, args, func(arg string) error {
			r := &record{}
			in := client.PowerRequest{Force: force}
			if verb == "restart" {
				in.Token = rand.Text() // a request that is repeated on its way restarts once
			}
			err := s.do(cmd.Context(), client.Call{Method: "POST", Path: s.path(n, s.project, arg, verb), In: in, Out: r})
			word := done
			if err == nil && p.wait {
				if r, err = s.ready(cmd, n, r, p.limit); err == nil {
					_, word, err = s.more(cmd, n, r, p)
				}
			}
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "vm %s %s\n", arg, word)
			}
			return err
		})
	}
	return c
}

func (s *session) vmMigrate(n *noun) *cobra.Command {
	var to string
	var within time.Duration
	c := &cobra.Command{Use: "migrate NAME [--to HOST]", Short: "Migrate a running VM to another host", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "The guest goes on running while its memory is copied, and stands still only for the last part.\nWithout --to the cloud chooses the host.",
		Example: "  virga vm migrate web --to h2 --wait\n  virga vm migrate web --within 5m"}
	c.Flags().StringVar(&to, "to", "", "the host to move to")
	c.Flags().DurationVar(&within, "within", 0, "undo a move that has not come to its switch by then; 0: it may take as long as it takes")
	s.completeFlag(c, "to", "host")
	f := addFormat(c)
	p := addPatience(c, "the move has ended")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if within < 0 || within%time.Second != 0 {
			return refuse("--within %s: it is a number of whole seconds, like 90s or 5m", within)
		}
		in, op := client.MigrateRequest{Host: to, WithinSeconds: int64(within / time.Second)}, &record{}
		if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: s.path(n, s.project, args[0], "migrate"), In: in, Out: op}); err != nil {
			return err
		}
		return s.said(cmd, op, p, *f, "vm "+args[0]+" is moved", "vm "+args[0]+" is being moved")
	}
	return c
}

// said waits for an operation, if that is wanted, and says what became of it.
func (s *session) said(cmd *cobra.Command, op *record, p *patience, f format, done, begun string) (err error) {
	text := begun + ": `virga operation show " + op.Name + "` tells how far"
	if p.wait {
		if op, err = s.ended(cmd, op, p.limit); err != nil {
			return err
		}
		text = done
	}
	if !f.forPeople() {
		return f.data(cmd.OutOrStdout(), []*record{op}, false)
	}
	fmt.Fprintln(cmd.OutOrStdout(), text)
	return nil
}

func (s *session) vmResize(n *noun) *cobra.Command {
	var cpus, maxCPUs int64
	var memory sizeFlag
	var most memoryPart
	var policy cpuFlags
	var share memoryFlags
	var pool string
	c := &cobra.Command{Use: "resize NAME [--cpus N] [--memory SIZE]", Short: "Change the size of a stopped VM, or its part of its host", Args: exactly("NAME"),
		Long: "CPUs and memory change while the VM is stopped, but that they may grow to what the VM was started for\n" +
			"(--max-cpus, --max-memory). Shares, reservation and limit change while it runs too:\n" +
			"where processors or memory are short, reservations are kept first, what is left is divided by shares, and\n" +
			"nobody gets more than its limit. A VM in a resource pool divides what that gets; --pool none takes it out.",
		Example: "  virga vm resize web --cpus 4 --memory 2GiB\n  virga vm resize web --cpu-shares 4000 --cpu-reservation 500 --cpu-limit 2000\n" +
			"  virga vm resize web --memory-shares 40000 --memory-reservation 256MiB", ValidArgsFunction: s.completeNames(n, 1)}
	policy.flags(c.Flags())
	share.flags(c.Flags())
	c.Flags().Int64Var(&cpus, "cpus", 0, "number of virtual CPUs")
	c.Flags().Var(&memory, "memory", "memory, for example 512MiB")
	c.Flags().Var(&most, "max-memory", maxMemoryText)
	c.Flags().Int64Var(&maxCPUs, "max-cpus", 0, maxCPUsText)
	c.Flags().StringVar(&pool, "pool", "", "the resource pool that it is in; none: in none")
	s.completeFlag(c, "pool", "resourcepool")
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		spec := map[string]any{}
		if cmd.Flags().Changed("cpus") {
			spec[key(&vmOf.Spec.CPUs)] = cpus
		}
		if memory.mib > 0 {
			spec[key(&vmOf.Spec.MemoryMiB)] = memory.mib
		}
		if pool != "" {
			spec[key(&vmOf.Spec.PoolID)] = pool
			if pool == "none" {
				spec[key(&vmOf.Spec.PoolID)] = ""
			}
		}
		if err := errors.Join(policy.check(cmd), share.check(cmd)); err != nil {
			return err
		}
		for flag, is := range map[string]struct {
			field string
			value int64
		}{
			"cpu-shares": {key(&vmOf.Spec.CPUShares), policy.shares}, "cpu-reservation": {key(&vmOf.Spec.CPUReservationMHz), policy.reservation}, "cpu-limit": {key(&vmOf.Spec.CPULimitMHz), policy.limit},
			"memory-shares": {key(&vmOf.Spec.MemoryShares), share.shares}, "memory-reservation": {key(&vmOf.Spec.MemoryReservationMiB), share.reservation.mib}, "memory-limit": {key(&vmOf.Spec.MemoryLimitMiB), share.limit.mib}, "max-memory": {key(&vmOf.Spec.MaxMemoryMiB), most.mib}, "max-cpus": {key(&vmOf.Spec.MaxCPUs), maxCPUs},
		} {
			if cmd.Flags().Changed(flag) {
				spec[is.field] = is.value
			}
		}
		if len(spec) == 0 {
			return refuse("%s: say what to change: --cpus, --memory, --pool, or the shares, reservation or limit of one of them", called(cmd))
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": spec}, "is resized")
	}
	return c
}

func (s *session) vmScreenshot(n *noun) *cobra.Command {
	var file string
	c := &cobra.Command{Use: "screenshot NAME", Short: "Save a picture of a VM's screen", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga vm screenshot web -f web.png\n  virga vm screenshot web -f - | display"}
	c.Flags().StringVarP(&file, "file", "f", "", "where to save it; - is standard output (default NAME.png)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if file == "" {
			file = args[0] + ".png"
		}
		var picture strings.Builder
		if err := s.do(cmd.Context(), client.Call{Method: "GET", Path: s.path(n, s.project, args[0], "screenshot"), Out: io.Writer(&picture)}); err != nil {
			return err
		}
		if file == "-" {
			_, err := io.WriteString(bytesOut(cmd), picture.String())
			return err
		}
		if err := os.WriteFile(file, []byte(picture.String()), 0o644); err != nil {
			return refuse("save the picture: %v", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "the screen of vm %s is saved in %s\n", args[0], file)
		return nil
	}
	return c
}

// logOut is where what a guest wrote goes: as it is, unless a person's terminal shows it.
func logOut(cmd *cobra.Command) io.Writer {
	plain := bytesOut(cmd)
	if f, ok := plain.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return cmd.OutOrStdout()
	}
	return plain
}

func (s *session) vmLog(n *noun) *cobra.Command {
	var follow, previous bool
	var tail int64
	c := &cobra.Command{Use: "log NAME", Short: "Print what a VM has written to its serial console", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "The host keeps what a VM said since its last start, also when it does not run any more, and the run\nbefore that (--previous). " +
			"Of much, the end is kept. With --follow it goes on until the VM ends, or Ctrl-C.",
		Example: "  virga vm log web --tail 20\n  virga vm log web --follow\n  virga vm log web --previous"}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what the VM writes")
	c.Flags().Int64Var(&tail, "tail", 0, "begin so many lines before the end (default all)")
	c.Flags().BoolVar(&previous, "previous", false, "the run before the last start, which may have ended in a crash")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		q := url.Values{}
		switch {
		case tail < 0:
			return refuse("%s: --tail is a number of lines, from 0", called(cmd))
		case follow && previous:
			return refuse("%s: the previous run has ended; say --follow or --previous", called(cmd))
		case cmd.Flags().Changed("tail"):
			q.Set("tail", strconv.FormatInt(tail, 10))
		}
		for name, on := range map[string]bool{"follow": follow, "previous": previous} {
			if on {
				q.Set(name, "true")
			}
		}
		err := s.do(cmd.Context(), client.Call{Method: "GET", Path: s.path(n, s.project, args[0], "log"), Query: q, Out: logOut(cmd)})
		if follow && cmd.Context().Err() != nil {
			return nil // to leave is how following ends; nothing was asked for that goes on
		}
		return err
	}
	return c
}
