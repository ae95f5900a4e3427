package cli

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func (s *session) traceCommand() *cobra.Command {
	var tcp, udp int64
	c := &cobra.Command{Use: "trace FROM TO [--tcp PORT | --udp PORT]", Short: "Say which way a packet takes, and where it is dropped", Args: exactly("FROM", "TO"),
		Long: "Follow the first packet of a connection, hop by hop, from a VM or a port to another, or to an address: security\n" +
			"groups, switches, routers, tunnels, the way out. Without --tcp and --udp it is a ping.",
		Example:           "  virga network trace web db --tcp 5432\n  virga network trace web 192.0.2.1",
		ValidArgsFunction: s.completeNames(vms(), 2)}
	c.Flags().Int64Var(&tcp, "tcp", 0, "the TCP port that is connected to")
	c.Flags().Int64Var(&udp, "udp", 0, "the UDP port that is sent to")
	c.MarkFlagsMutuallyExclusive("tcp", "udp")
	f := addFormat(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		q := url.Values{"from": {args[0]}, "to": {args[1]}, "protocol": {"icmp"}}
		for protocol, port := range map[string]int64{"tcp": tcp, "udp": udp} {
			if cmd.Flags().Changed(protocol) {
				q.Set("protocol", protocol)
				q.Set("port", strconv.FormatInt(port, 10))
			}
		}
		var whole record
		if err := s.do(cmd.Context(), client.Call{Method: "GET", Path: "/v1/projects/" + url.PathEscape(s.project) + "/trace", Query: q, Out: &whole}); err != nil {
			return err
		}
		if !f.forPeople() && *f != "name" {
			return f.data(cmd.OutOrStdout(), []*record{&whole}, false)
		}
		var trace client.Trace
		if err := decode(whole.raw, &trace); err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		fmt.Fprintf(w, "%s to %s\n", trace.From, trace.To)
		for i, hop := range trace.Hops {
			fmt.Fprintf(w, "%3d  %-14s  %s\n", i+1, hop.At, oneLine(hop.Text))
		}
		switch {
		case !trace.Arrives:
			fmt.Fprintln(w, "It is dropped there.")
		case trace.Hops[len(trace.Hops)-1].At == client.HopAt("outside"):
			fmt.Fprintln(w, "It leaves the cloud.")
		default:
			fmt.Fprintln(w, "It arrives.")
		}
		return nil
	}
	return c
}
