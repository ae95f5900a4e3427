package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func hosts() *noun {
	return &noun{api: client.As[record](client.Hosts), group: groupCloud, sample: "h1", short: "Hardware that runs the cloud's work",
		long: "A host joins with a token (`virga host token` here, `virga join` there). Cordoned it takes no\nnew work; in maintenance its VMs move away as well.", verbs: everyVerb, commands: hostCommands, removal: declareDead,
		states: []string{"alive", "lost"}, life: lifeText,
		columns: []column{computed("State", lifeText), field("Mode", at(&hostOf.Spec.Mode)), computed("Evacuation", evacuationText).only(), computed("CPUs", promisedCPUs), computed("Memory", promisedMemory),
			field("Accelerator", at(&hostOf.Status.Profile.Accelerator)), field("Address", at(&hostOf.Status.Address)), field("Version", at(&hostOf.Status.Version)).wide(),
			name("Cluster", "cluster", at(&hostOf.Spec.ClusterID)).wide(), field("Zone", at(&hostOf.Spec.Zone)).wide(), field("QEMU", at(&hostOf.Status.Profile.QEMUVersion)).wide(), field("Kernel", at(&hostOf.Status.Profile.KernelVersion)).wide(),
			field("Datapath", at(&hostOf.Status.Profile.Datapath)).wide(), field("Processor", at(&hostOf.Status.Inventory.CPUModel)).only(),
			computed("Layout", layoutText).only(), computed("Clock", clockText).only(), computed("Total clock", totalClockText).only(), computed("Memory of the host", hostMemoryText).only(), computed("NUMA nodes", numaText).only(),
			field("Why this accelerator", at(&hostOf.Status.Profile.AcceleratorWhy)).only(), field("Tunnels at", at(&hostOf.Status.TunnelAddress)).only(),
			computed("CPU overcommit %", ratioText("cpuOvercommitPercent")).only(), computed("Memory overcommit %", ratioText("memoryOvercommitPercent")).only(),
			field("Swap MiB", at(&hostOf.Status.Profile.SwapMiB)).only(), field("Compressed swap", at(&hostOf.Status.Profile.CompressedSwap)).only(), field("Page sharing", at(&hostOf.Spec.PageSharing)).only(), trouble()}}
}

// lifeText says whether a host is reachable.
func lifeText(s *lookup, r *record) string {
	if r.Deleting != nil {
		return "deleting"
	}
	all, err := s.remembered(s.ctx, "liveness")
	if err != nil {
		return "-"
	}
	for _, l := range all {
		if l.text(at(&livenessOf.Spec.HostID)) == r.ID {
			return l.text(at(&livenessOf.Status.State))
		}
	}
	return "unknown"
}

// promised sums what VMs were promised of a host.
func promised(s *lookup, r *record, path string) int64 {
	all, _ := s.remembered(s.ctx, "claim")
	var sum int64
	for _, c := range all {
		if c.text(at(&livenessOf.Spec.HostID)) == r.ID {
			sum += c.number(path)
		}
	}
	return sum
}

// promisedCPUs says how much is promised of what may be promised, as placement counts it.
func promisedCPUs(s *lookup, r *record) string {
	threads := r.number(at(&hostOf.Status.Inventory.Threads))
	if threads == 0 {
		return "-"
	}
	percent, _ := ratio(s, r, "cpuOvercommitPercent")
	return fmt.Sprintf("%d of %d", promised(s, r, at(&claimOf.Spec.CPUs)), threads*percent/100)
}

func promisedMemory(s *lookup, r *record) string {
	used := promised(s, r, at(&claimOf.Spec.MemoryMiB))
	percent, _ := ratio(s, r, "memoryOvercommitPercent")
	total := size((r.number(at(&hostOf.Status.Inventory.MemoryMiB)) - r.number(at(&hostOf.Status.Inventory.ReservedMemoryMiB))) * percent / 100)
	if total == "-" {
		return total
	}
	if used == 0 {
		return "0 of " + total
	}
	return size(used) + " of " + total
}

// layoutText says how the processors of a host are made up: vCPUs = sockets x cores x threads.
func layoutText(_ *lookup, r *record) string {
	has, n := &hostOf.Status.Inventory, func(field *int64) int64 { return r.number(at(field)) }
	if n(&has.Sockets) == 0 {
		return ""
	}
	return fmt.Sprintf("%s x %s x %s = %s", several(n(&has.Sockets), "socket"), several(n(&has.CoresPerSocket), "core"), several(n(&has.ThreadsPerCore), "thread"), several(n(&has.Threads), "vCPU"))
}

func clockText(_ *lookup, r *record) string {
	mhz := r.number(at(&hostOf.Status.Inventory.Mhz))
	if mhz == 0 {
		return ""
	}
	return fmt.Sprintf("%d MHz", mhz)
}

// totalClockText is what all threads have together: vCPUs x clock.
func totalClockText(_ *lookup, r *record) string {
	mhz := r.number(at(&hostOf.Status.Inventory.Mhz)) * r.number(at(&hostOf.Status.Inventory.Threads))
	if mhz == 0 {
		return ""
	}
	return fmt.Sprintf("%d MHz", mhz)
}

func hostMemoryText(_ *lookup, r *record) string {
	text := size(r.number(at(&hostOf.Status.Inventory.MemoryMiB)))
	if kept := r.number(at(&hostOf.Status.Inventory.ReservedMemoryMiB)); kept > 0 {
		text += ", of which " + size(kept) + " are kept for the host itself"
	}
	return text
}

// numaText is a line for each node: its processors, and the memory near to them.
func numaText(_ *lookup, r *record) string {
	var out []string
	for _, node := range r.list(at(&hostOf.Status.Inventory.NUMA)) {
		m, _ := node.(map[string]any)
		cpus, _ := m["cpus"].([]any)
		mib, _ := strconv.ParseInt(member(node, "memoryMiB"), 10, 64)
		out = append(out, fmt.Sprintf("node %s: %s (%s), %s", member(node, "node"), several(int64(len(cpus)), "vCPU"), ranges(cpus), size(mib)))
	}
	return strings.Join(out, "\n")
}

// ranges says numbers in order shortly: 0-3, 8.
func ranges(numbers []any) string {
	var out []string
	for i := 0; i < len(numbers); {
		first, _ := strconv.Atoi(plain(numbers[i]))
		last := first
		for i++; i < len(numbers) && plain(numbers[i]) == strconv.Itoa(last+1); i++ {
			last++
		}
		if last > first {
			out = append(out, fmt.Sprintf("%d-%d", first, last))
		} else {
			out = append(out, strconv.Itoa(first))
		}
	}
	return strings.Join(out, ", ")
}

func several(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func hostCommands(s *session, n *noun) []*cobra.Command {
	return []*cobra.Command{
		s.hostMaintenance(n),
		s.hostMode(n, "cordoned", "cordon", "Let a host take no new work, and keep what it has", "is cordoned: it takes no new work"),
		s.hostMode(n, "active", "activate", "Let a host take work again", "is active: it takes work"),
		s.hostSet(n),
		s.hostToken(),
		s.hostUnregistered(n),
		s.hostRegister(n),
	}
}

func (s *session) hostMode(n *noun, mode, verb, summary, done string) *cobra.Command {
	c := &cobra.Command{Use: verb + " NAME", Short: summary, Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1), Example: "  virga host " + verb + " h1"}
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return s.patch(cmd, n, args[0], map[string]any{"spec": map[string]any{key(&hostOf.Spec.Mode): mode}}, done)
	}
	return c
}

// hostMaintenance is a change of mode that can be waited for: until the last VM has left.
func (s *session) hostMaintenance(n *noun) *cobra.Command {
	c := s.hostMode(n, "maintenance", "maintenance", "Empty a host: its VMs move away, and it takes no new work", "is in maintenance: it takes no new work, and its VMs move away")
	c.Long = "Running VMs move to other hosts by live migration, two at once. What cannot be moved stays, and\n`virga host show` says why: migrate, stop or delete it; it is looked at again. `virga host activate` ends it."
	c.Example += "\n  virga host maintenance h1 --wait"
	p, patch := addPatience(c, "no VM is left on it"), c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := patch(cmd, args); err != nil || !p.wait {
			return err
		}
		h, err := s.get(cmd.Context(), n, "", args[0])
		if err == nil {
			err = s.evacuated(cmd, h, p.limit)
		}
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "host %s is empty\n", h.Name)
		}
		return err
	}
	return c
}

// evacuated waits until no VM is left on a host.
func (s *session) evacuated(cmd *cobra.Command, h *record, limit time.Duration) error {
	n, e := evacuations(), &record{}
	err := s.patiently(cmd.Context(), limit, func(time.Duration) error { // the record is made after the mode has changed
		err := s.do(cmd.Context(), client.Call{Method: "GET", Path: s.path(n, "", h.Name), Out: e})
		if client.IsKind(err, "not-found") {
			return fail("unavailable", "the evacuation of host %s has not begun", h.Name)
		}
		return err
	})
	if err == nil {
		_, err = s.ready(cmd, n, e, limit)
	}
	return err
}

// evacuationText says of a host in maintenance what is left on it.
func evacuationText(s *lookup, r *record) string {
	all, err := s.remembered(s.ctx, "evacuation")
	if err != nil {
		return ""
	}
	for _, e := range all {
		if e.text(at(&evacuationOf.Spec.HostID)) == r.ID {
			return e.state() + leftText(s, e)
		}
	}
	return ""
}

// leftText is a line for each VM that is still there.
func leftText(_ *lookup, e *record) string {
	var out strings.Builder
	for _, vm := range e.list(at(&evacuationOf.Status.Left)) {
		fmt.Fprintf(&out, "\n%s: %s", member(vm, "name"), member(vm, "state"))
		if why := member(vm, "why"); why != "" {
			out.WriteString(", " + why)
		}
	}
	return out.String()
}

func evacuations() *noun {
	return &noun{api: client.As[record](client.Evacuations), inner: true, group: groupCloud, sample: "h1", short: "Hosts in maintenance, and what is left on them",
		long: "One for each host in maintenance. It goes when the host is active or cordoned again.", verbs: []string{"list", "show"},
		states:  []string{"emptying", "blocked", "empty"},
		columns: []column{name("Host", "host", at(&evacuationOf.Spec.HostID)), state("Phase"), since("Since", at(&evacuationOf.Status.Since)), computed("VMs", func(_ *lookup, e *record) string { return count(e.list(at(&evacuationOf.Status.Left))) }), computed("Left", leftText).only(), trouble()}}
}

func (s *session) hostToken() *cobra.Command {
	var life string
	c := &cobra.Command{Use: "token", Short: "Create a token with which one host joins", Args: exactly(), Example: "  virga host token\n  virga host token --expires 10m -o json",
		Long: "Print the command that joins a new host to this cloud. The token works once."}
	c.Flags().StringVar(&life, "expires", "1h", "how long it is good for")
	f := addFormat(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		d, err := parseLife(life)
		if err != nil {
			return err
		}
		made := map[string]any{}
		in := client.JoinTokenRequest{ExpiresInSeconds: int64(d.Seconds())}
		if err := s.do(cmd.Context(), client.Call{Method: "POST", Path: "/v1/jointokens", In: in, Out: &made, Once: true}); err != nil {
			return err
		}
		switch {
		case *f == "name":
			fmt.Fprintln(cmd.OutOrStdout(), secretOf(made))
		case !f.forPeople():
			return f.value(cmd.OutOrStdout(), made)
		default:
			fmt.Fprintf(cmd.ErrOrStderr(), "on the new host, within %s:\n", life)
			fmt.Fprintln(cmd.OutOrStdout(), "virga join "+secretOf(made))
		}
		return nil
	}
	return c
}

// declareDead adds the way to remove a host that cannot be asked any more.
func declareDead(s *session, c *cobra.Command) func(context.Context, *record) (bool, error) {
	var dead, switchedOff bool
	c.Long = "Delete a host that nothing of a project is on any more; its daemon ends.\n\n" +
		"A host that is gone for good cannot let go of what it has. With --dead that is done in its place: its\n" +
		"VMs start elsewhere by their own policy, what lay on its own disks is given up, and its certificate is\n" +
		"refused from then on. The host must be silent, and --switched-off vouches that its guests run no more: a\n" +
		"VM that ran twice would destroy its disks."
	c.Example += "\n  virga host delete h2 --dead --switched-off --wait"
	c.Flags().Bool("force", false, "also while it is alive: its daemon ends, and it comes back only by joining anew")
	c.Flags().BoolVar(&dead, "dead", false, "the host is lost and will not come back; give up what it has")
	c.Flags().BoolVar(&switchedOff, "switched-off", false, "with --dead: I have seen to it that the host is switched off")
	return func(ctx context.Context, r *record) (bool, error) {
		switch {
		case switchedOff && !dead:
			return false, refuse("--switched-off goes with --dead")
		case !dead:
			return false, nil
		case c.Flags().Changed("dry-run"):
			return false, refuse("--dry-run cannot judge --dead; say one of them")
		}
		n := nounOf("host")
		return true, s.do(ctx, client.Call{Method: "POST", Path: s.path(n, "", r.ID) + "/declare-dead", In: client.DeadRequest{SwitchedOff: switchedOff}})
	}
}

func removals() *noun {
	return &noun{api: client.As[record](client.Removals), inner: true, group: groupCloud, sample: "0192f0c1", short: "Hosts that were removed",
		long: "A host that was removed is refused for ever, also when it comes back.", verbs: []string{"list", "show"},
		columns: []column{field("Host", at(&removalOf.Spec.HostName)), field("Cause", at(&removalOf.Spec.Cause)), field("By", at(&removalOf.Spec.By)), field("ID", at(&removalOf.Spec.HostID)).wide(), trouble()}}
}

// secretOf finds the secret in the answer of a request that made one.
func secretOf(made map[string]any) string {
	if secret, ok := made["secret"].(string); ok {
		return secret
	}
	return plain(made["token"])
}

func livenesses() *noun {
	return &noun{api: client.As[record](client.Livenesses), inner: true, group: groupCloud, sample: "h1", short: "Heartbeats of hosts: alive, lost or unknown",
		long: "Apart from what a host says of itself: whether the servers hear it.", verbs: []string{"list", "show"},
		columns: []column{name("Host", "host", at(&livenessOf.Spec.HostID)), field("State", at(&livenessOf.Status.State)), since("Since", at(&livenessOf.Status.Since)), trouble()}}
}

func count(list []any) string { return strconv.Itoa(len(list)) }
