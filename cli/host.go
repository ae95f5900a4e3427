package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func hosts() *noun {
	return &noun{kind: "host", plural: "hosts", group: groupCloud, cloud: true, sample: "h1", short: "Machines that run the cloud's work",
		long: "A host joins with a token (`virga host token` here, `virga join` there). In maintenance it takes\nno new work.", verbs: everyVerb, commands: hostCommands, removal: declareDead,
		columns: []column{computed("State", lifeText), field("Mode", "spec.mode"), computed("CPUs", promisedCPUs), computed("Memory", promisedMemory),
			field("Accelerator", "status.profile.accelerator"), field("Address", "status.address"), field("Version", "status.version").wide(),
			field("Zone", "spec.zone").wide(), field("QEMU", "status.profile.qemuVersion").wide(), field("Kernel", "status.profile.kernelVersion").wide(),
			field("Datapath", "status.profile.datapath").wide(), field("Processor", "status.inventory.cpuModel").only(),
			field("Why this accelerator", "status.profile.acceleratorWhy").only(), field("Tunnels at", "status.tunnelAddress").only(),
			field("CPU overcommit %", "spec.cpuOvercommitPercent").only(), field("Memory overcommit %", "spec.memoryOvercommitPercent").only(), trouble()}}
}

// lifeText says whether a host is heard.
func lifeText(s *scene, r *record) string {
	if r.Deleting != nil {
		return "deleting"
	}
	all, err := s.remembered(s.ctx, "liveness")
	if err != nil {
		return "-"
	}
	for _, l := range all {
		if l.text("spec.hostID") == r.ID {
			return l.text("status.state")
		}
	}
	return "unknown"
}

// promised sums what machines were promised of a host.
func promised(s *scene, r *record, path string) int64 {
	all, _ := s.remembered(s.ctx, "claim")
	var sum int64
	for _, c := range all {
		if c.text("spec.hostID") == r.ID {
			sum += c.number(path)
		}
	}
	return sum
}

func promisedCPUs(s *scene, r *record) string {
	if r.number("status.inventory.threads") == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", promised(s, r, "spec.cpus"), r.number("status.inventory.threads"))
}

func promisedMemory(s *scene, r *record) string {
	used := promised(s, r, "spec.memoryMiB")
	total := size(r.number("status.inventory.memoryMiB"))
	if total == "-" {
		return total
	}
	if used == 0 {
		return "0 of " + total
	}
	return size(used) + " of " + total
}

func hostCommands(s *session, n *noun) []*cobra.Command {
	return []*cobra.Command{
		s.hostMode(n, "maintenance", "Let a host take no new work", "is in maintenance: it takes no new work"),
		s.hostMode(n, "active", "Let a host take work again", "is active: it takes work"),
		s.hostToken(),
	}
}

func (s *session) hostMode(n *noun, mode, summary, done string) *cobra.Command {
	verb := mode
	if mode == "active" {
		verb = "activate"
	}
	return &cobra.Command{Use: verb + " NAME", Short: summary, Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1), Example: "  virga host " + verb + " h1",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.patch(cmd, n, args[0], map[string]any{"spec": map[string]any{"mode": mode}}, done)
		}}
}

func (s *session) hostToken() *cobra.Command {
	var life string
	c := &cobra.Command{Use: "token", Short: "Make a token by which one new host joins", Args: exactly(), Example: "  virga host token\n  virga host token --expires 10m -o json",
		Long: "Print the command that joins a new host to this cloud. The token works once."}
	c.Flags().StringVar(&life, "expires", "1h", "how long it is good for")
	f := addFormat(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		d, err := parseLife(life)
		if err != nil {
			return err
		}
		made := map[string]any{}
		in := map[string]any{"expiresInSeconds": int64(d.Seconds())}
		if err := s.do(cmd.Context(), call{method: "POST", path: "/v1/jointokens", in: in, out: &made, once: true}); err != nil {
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
		"A host whose machine is gone for good cannot let go of what it has. With --dead that is done in its place: its\n" +
		"machines start elsewhere by their own policy, what lay on its own disks is given up, and its certificate is\n" +
		"refused from then on. The host must be silent, and --switched-off vouches that its guests run no more: a\n" +
		"machine that ran twice would destroy its disks."
	c.Example += "\n  virga host delete h2 --dead --switched-off --wait"
	c.Flags().BoolVar(&dead, "dead", false, "the host is lost and will not come back; give up what it has")
	c.Flags().BoolVar(&switchedOff, "switched-off", false, "with --dead: I have seen to it that the machine is switched off")
	return func(ctx context.Context, r *record) (bool, error) {
		switch {
		case switchedOff && !dead:
			return false, refuse("--switched-off goes with --dead")
		case !dead:
			return false, nil
		}
		n := nounOf("host")
		return true, s.do(ctx, call{method: "POST", path: s.path(n, "", r.ID) + "/declare-dead", in: map[string]any{"switchedOff": switchedOff}})
	}
}

func removals() *noun {
	return &noun{kind: "removal", plural: "removals", group: groupCloud, cloud: true, sample: "0192f0c1", short: "Hosts that were removed",
		long: "A host that was removed is refused for ever, also when it comes back.", verbs: []string{"list", "show"},
		columns: []column{field("Host", "spec.hostName"), field("Cause", "spec.cause"), field("By", "spec.by"), field("ID", "spec.hostID").wide(), trouble()}}
}

// secretOf finds the secret in the answer of a request that made one.
func secretOf(made map[string]any) string {
	if secret, ok := made["secret"].(string); ok {
		return secret
	}
	return plain(made["token"])
}

func livenesses() *noun {
	return &noun{kind: "liveness", plural: "livenesses", group: groupCloud, cloud: true, sample: "h1", short: "What is known of hosts' lives",
		long: "Apart from what a host says of itself: whether the servers hear it.", verbs: []string{"list", "show"},
		columns: []column{name("Host", "host", "spec.hostID"), field("State", "status.state"), since("Since", "status.since"), trouble()}}
}

func count(list []any) string { return strconv.Itoa(len(list)) }
