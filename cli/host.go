package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func hosts() *noun {
	return &noun{kind: "host", plural: "hosts", group: groupCloud, cloud: true, sample: "h1", short: "Machines that run the cloud's work",
		long: "A host joins with a token (`virga host token` here, `virga join` there). In maintenance it takes\nno new work.", verbs: everyVerb, commands: hostCommands,
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
