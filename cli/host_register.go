package cli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

// hostUnregistered shows what a host has and the cloud does not know.
func (s *session) hostUnregistered(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "unregistered NAME", Short: "List the VMs and volumes of a host that the cloud does not know", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "After a backup was brought back, what was made later has no record. It runs on, and its host has kept\nits records: `virga host register` takes them.",
		Example: "  virga host unregistered h1"}
	f := addFormat(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var out client.UnregisteredList
		if err := s.do(cmd.Context(), client.Call{Method: "GET", Path: s.path(n, "", args[0]) + "/unregistered", Out: &out}); err != nil {
			return err
		}
		if len(out.Items) == 0 && f.forPeople() {
			fmt.Fprintf(cmd.OutOrStdout(), "the cloud knows all VMs and volumes of host %s\n", args[0])
			return nil
		}
		return s.unregistered(cmd, f, out)
	}
	return c
}

// unregistered prints a list of them.
func (s *session) unregistered(cmd *cobra.Command, f *format, list client.UnregisteredList) error {
	out := cmd.OutOrStdout()
	switch {
	case *f == "name":
		for _, u := range list.Items {
			fmt.Fprintln(out, oneLine(u.Name))
		}
		return nil
	case !f.forPeople():
		return f.value(out, list)
	}
	var rows [][]string
	for _, u := range list.Items {
		rows = append(rows, []string{oneLine(u.Name), u.Kind, oneLine(u.Project), u.ID, u.Taken.Local().Format("2006-01-02 15:04:05")})
	}
	printRows(out, []string{"Name", "Kind", "Project", "ID", "Records of"}, rows)
	return nil
}

// hostRegister registers them.
func (s *session) hostRegister(n *noun) *cobra.Command {
	var name string
	var all bool
	c := &cobra.Command{Use: "register NAME [VM or volume...]", Short: "Register VMs and volumes of a host that the cloud does not know", Args: atLeast("NAME"),
		Long:    "A VM is registered as it was: with its id, disks, snapshots, ports and addresses, and with its network,\nsecurity groups and project where these are gone too. One that runs runs on.",
		Example: "  virga host register h1 web\n  virga host register h1 --all\n  virga host register h1 web --name web-restored"}
	c.Flags().StringVar(&name, "name", "", "what to call it, where its name is taken; of one VM or volume")
	c.Flags().BoolVar(&all, "all", false, "all that virga host unregistered shows")
	f := addFormat(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 1) {
			return refuse("say which VMs and volumes, or --all; virga host unregistered %s shows them", args[0])
		}
		var out client.UnregisteredList
		call := client.Call{Method: "POST", Path: s.path(n, "", args[0]) + "/register", In: client.RegisterRequest{Workloads: args[1:], Name: name}, Out: &out}
		if err := s.do(cmd.Context(), call); err != nil {
			return err
		}
		if !f.forPeople() {
			return s.unregistered(cmd, f, out)
		}
		if len(out.Items) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "the cloud knows all VMs and volumes of host %s\n", args[0])
		}
		for _, u := range out.Items {
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s is registered in project %s\n", u.Kind, oneLine(cmp.Or(name, u.Name)), oneLine(u.Project))
		}
		return nil
	}
	return c
}
