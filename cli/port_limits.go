package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

var rateUnits = []struct {
	name string
	kbps int64
}{{"gbps", 1_000_000}, {"mbps", 1000}, {"kbps", 1}}

// parseRate reads a rate in kbit/s; none is 0.
func parseRate(text string) (int64, error) {
	if text == "none" {
		return 0, nil
	}
	for _, u := range rateUnits {
		digits, ok := strings.CutSuffix(strings.ToLower(text), u.name)
		if n, err := strconv.ParseFloat(digits, 64); ok && err == nil && n*float64(u.kbps) >= 1 && n < 1e9 {
			return int64(n * float64(u.kbps)), nil
		}
	}
	return 0, refuse("%q is no rate; write for example 20Mbps or 1Gbps (powers of 1000, bits per second), or none", text)
}

// rateText says kbit/s in the largest unit that fits.
func rateText(kbps int64) string {
	for _, u := range rateUnits {
		if kbps >= u.kbps && kbps > 0 {
			text := strings.TrimSuffix(strconv.FormatFloat(float64(kbps)/float64(u.kbps), 'f', 1, 64), ".0")
			return text + strings.ToUpper(u.name[:1]) + u.name[1:]
		}
	}
	return "-"
}

// portFlags are what may change of a port.
type portFlags struct {
	send, receive string
	groups        []string
}

func (r *portFlags) flags(s *session, c *cobra.Command) {
	c.Flags().StringVar(&r.send, "send", "", "the most that its VM sends, for example 20Mbps; none lifts it")
	c.Flags().StringVar(&r.receive, "receive", "", "the most that reaches its VM, for example 1Gbps; none lifts it")
	c.Flags().StringSliceVar(&r.groups, "security-group", nil, "a security group that it is in; may be repeated (default: default)")
	s.completeFlag(c, "security-group", "securitygroup")
}

// put writes what was said into a spec.
func (r *portFlags) put(cmd *cobra.Command, spec map[string]any) error {
	if len(r.groups) > 0 {
		spec[key(&portOf.Spec.SecurityGroupIDs)] = r.groups
	}
	for flag, x := range map[string]struct{ field, text string }{"send": {key(&portOf.Spec.SendKbps), r.send}, "receive": {key(&portOf.Spec.ReceiveKbps), r.receive}} {
		if !cmd.Flags().Changed(flag) {
			continue
		}
		kbps, err := parseRate(x.text)
		if err != nil {
			return refuse("--%s %v", flag, err)
		}
		spec[x.field] = kbps
	}
	return nil
}

// said is the spec of a change; one without anything is refused.
func (r *portFlags) said(cmd *cobra.Command) (map[string]any, error) {
	spec := map[string]any{}
	if err := r.put(cmd, spec); err != nil {
		return nil, err
	}
	if len(spec) == 0 {
		return nil, refuse("%s: say what to change: --send, --receive or --security-group", called(cmd))
	}
	return spec, nil
}

func (s *session) portSet(n *noun) *cobra.Command {
	var said portFlags
	c := &cobra.Command{Use: "set NAME", Short: "Limit what a port sends and receives, and put it into security groups", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "Limit what the VM of a port sends, and what reaches it. What is above a limit is dropped, after a burst of\nmost of a second. --security-group names all groups that it is in from now on. It holds at once, wherever the VM is.",
		Example: "  virga port set web --send 20Mbps --receive 100Mbps\n  virga port set web --send none\n  virga port set web --security-group web --security-group ssh"}
	said.flags(s, c)
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := said.said(cmd)
		if err != nil {
			return err
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": spec}, "is changed")
	}
	return c
}

func (s *session) setNIC(n *noun) *cobra.Command {
	var said portFlags
	c := &cobra.Command{Use: "set NAME NIC|PORT", Short: "Limit what a NIC of a VM sends and receives, and put it into security groups", Args: exactly("NAME", "NIC"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "Limit a NIC, which is to limit its port: virga port set does the same by the port's name. What is above a limit\nis dropped, after a burst of most of a second. --security-group names all groups that it is in from now on.\nIt holds at once.",
		Example: "  virga vm nic set web nic0 --send 20Mbps --receive 100Mbps\n  virga vm nic set web nic0 --send none\n  virga vm nic set web nic0 --security-group web"}
	said.flags(s, c)
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := said.said(cmd)
		if err != nil {
			return err
		}
		at, err := s.connection()
		if err != nil {
			return err
		}
		vm, err := client.VMs.Get(cmd.Context(), at, s.project, args[0])
		if err != nil {
			return err
		}
		nic, err := s.nicNamed(cmd, vm, args[1])
		if err != nil {
			return err
		}
		return s.patch(cmd, ports(), nic.PortID, map[string]any{"spec": spec}, "is changed")
	}
	return c
}
