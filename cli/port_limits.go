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

// rateFlags are the limits of a port.
type rateFlags struct{ send, receive string }

func (r *rateFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&r.send, "send", "", "the most that its VM sends, for example 20Mbps; none lifts it")
	c.Flags().StringVar(&r.receive, "receive", "", "the most that reaches its VM, for example 1Gbps; none lifts it")
}

// put writes what was said into a spec.
func (r *rateFlags) put(cmd *cobra.Command, spec map[string]any) error {
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
func (r *rateFlags) said(cmd *cobra.Command) (map[string]any, error) {
	spec := map[string]any{}
	if err := r.put(cmd, spec); err != nil {
		return nil, err
	}
	if len(spec) == 0 {
		return nil, refuse("%s: say what to change: --send or --receive", called(cmd))
	}
	return spec, nil
}

func (s *session) portSet(n *noun) *cobra.Command {
	var rates rateFlags
	c := &cobra.Command{Use: "set NAME", Short: "Limit what a port sends and receives", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "Limit what the VM of a port sends, and what reaches it. What is above a limit is dropped, after a burst of\nmost of a second. It holds at once, wherever the VM is.",
		Example: "  virga port set web --send 20Mbps --receive 100Mbps\n  virga port set web --send none"}
	rates.flags(c)
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := rates.said(cmd)
		if err != nil {
			return err
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": spec}, "has its limits")
	}
	return c
}

func (s *session) setNIC(n *noun) *cobra.Command {
	var rates rateFlags
	c := &cobra.Command{Use: "set NAME NIC|PORT", Short: "Limit what a NIC of a VM sends and receives", Args: exactly("NAME", "NIC"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "Limit a NIC, which is to limit its port: virga port set does the same by the port's name. What is above a limit\nis dropped, after a burst of most of a second. It holds at once.",
		Example: "  virga vm nic set web nic0 --send 20Mbps --receive 100Mbps\n  virga vm nic set web nic0 --send none"}
	rates.flags(c)
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := rates.said(cmd)
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
		return s.patch(cmd, ports(), nic.PortID, map[string]any{"spec": spec}, "has its limits")
	}
	return c
}
