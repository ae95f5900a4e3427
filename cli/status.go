package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

// overviewOf is what virga status tells.
type overviewOf struct {
	Server   map[string]any    `json:"server"`
	Hosts    []hostState       `json:"hosts,omitempty"`
	VMs      map[string]int    `json:"vms"`
	Problems []overviewProblem `json:"problems"`
}

type hostState struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Mode    string `json:"mode"`
	CPUs    string `json:"cpus"`
	Memory  string `json:"memory"`
	Version string `json:"version,omitempty"`
}

type overviewProblem struct {
	About   string `json:"about"`
	Project string `json:"project,omitempty"`
	Message string `json:"message"`
}

func (s *session) statusCommand() *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "Show the state of the cloud", GroupID: groupCloud, Args: exactly(),
		Long: "Show the server, the hosts, the VMs by state, and what is not as specified.", Example: "  virga status\n  virga status -o json"}
	f := addFormat(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		o := overviewOf{VMs: map[string]int{}, Problems: []overviewProblem{}}
		if err := s.do(cmd.Context(), client.Call{Method: "GET", Path: "/v1/status", Out: &o.Server}); err != nil {
			return err
		}
		s.look(cmd.Context(), &o)
		if !f.forPeople() && *f != "name" {
			return f.value(cmd.OutOrStdout(), o)
		}
		o.print(cmd.OutOrStdout())
		return nil
	}
	return c
}

// unreadable fills in the records that the server cannot read; who may not list them learns how many there are.
func (s *session) unreadable(ctx context.Context, o *overviewOf) {
	n := plain(o.Server["unreadableRecords"])
	if n == "" {
		return
	}
	var list client.UnreadableAnswerBody
	if err := s.do(ctx, client.Call{Method: "GET", Path: "/v1/unreadable-records", Out: &list}); err != nil {
		o.Problems = append(o.Problems, overviewProblem{About: "server", Message: "records that cannot be read: " + n + "; ask an operator of the cloud"})
		return
	}
	for _, r := range list.Items {
		name := r.Name
		if name == "" {
			name = r.About.ID
		}
		o.Problems = append(o.Problems, overviewProblem{r.About.Kind + "/" + name, r.Project, "cannot be read: " + r.Why + "; " + r.Remedy})
	}
}

// look fills in what the caller may see; the rest is left out.
func (s *session) look(ctx context.Context, o *overviewOf) {
	s.unreadable(ctx, o)
	view := &lookup{s, ctx}
	for _, kind := range []string{"host", "datastore", "image", "network", "volume", "port", "vm"} {
		all, err := s.remembered(ctx, kind)
		if err != nil && nounOf(kind).api.InProject {
			all, _ = s.list(ctx, nounOf(kind), s.project)
		}
		for _, r := range all {
			for _, p := range r.problems() {
				o.Problems = append(o.Problems, overviewProblem{kind + "/" + r.Name, r.Project, p.Message})
			}
			switch kind {
			case "vm":
				o.VMs[r.state()]++
			case "host":
				h := hostState{Name: r.Name, State: lifeText(view, r), Mode: r.text(at(&hostOf.Spec.Mode)), CPUs: promisedCPUs(view, r), Memory: promisedMemory(view, r), Version: r.text(at(&hostOf.Status.Version))}
				if h.State == "lost" {
					o.Problems = append(o.Problems, overviewProblem{"host/" + r.Name, "", "is unreachable"})
				}
				o.Hosts = append(o.Hosts, h)
			}
		}
	}
}

func (o *overviewOf) print(w io.Writer) {
	ready := "ready"
	if why := plain(o.Server["why"]); plain(o.Server["ready"]) != "yes" {
		ready = "not ready: " + why
	}
	fmt.Fprintf(w, "Server    virga %s, %s\n", plain(o.Server["version"]), ready)
	if boot := atBoot(plain(o.Server["serviceManager"])); boot != "" {
		fmt.Fprintf(w, "At boot   %s\n", boot)
	}
	var vms []string
	for state, n := range o.VMs {
		vms = append(vms, fmt.Sprintf("%d %s", n, state))
	}
	slices.Sort(vms)
	if len(vms) == 0 {
		vms = []string{"none"}
	}
	fmt.Fprintf(w, "VMs       %s\n", strings.Join(vms, ", "))
	if len(o.Hosts) > 0 {
		fmt.Fprintln(w)
		var rows [][]string
		for _, h := range o.Hosts {
			rows = append(rows, []string{h.Name, h.State, h.Mode, h.CPUs, h.Memory, h.Version})
		}
		printRows(w, []string{"Host", "State", "Mode", "CPUs", "Memory", "Version"}, rows)
	}
	if len(o.Problems) == 0 {
		return
	}
	fmt.Fprintln(w, "\nProblems")
	for _, p := range o.Problems {
		where := ""
		if p.Project != "" {
			where = " (project " + p.Project + ")"
		}
		fmt.Fprintf(w, "  %s%s: %s\n", p.About, where, p.Message)
	}
}

// atBoot says what becomes of the server when its host starts, by what starts it.
func atBoot(serviceManager string) string {
	switch serviceManager {
	case "systemd":
		return "starts, by systemd"
	case "supervisor":
		return "does not start (when it dies, a supervisor starts it again); virga up --install lets it"
	case "none":
		return "does not start, and nothing starts it again when it dies; virga up --install lets it"
	}
	return ""
}

func decode(raw json.RawMessage, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fail("internal", "read the answer: %v", err)
	}
	return nil
}
