package network

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Direction is the way of a connection, seen from the port.
type Direction string

// The directions.
const (
	Ingress Direction = "ingress" // somebody connects to the port
	Egress  Direction = "egress"  // the port connects to somebody
)

// Protocol is what a connection speaks.
type Protocol string

// The protocols.
const (
	AnyProtocol Protocol = "any"
	TCP         Protocol = "tcp"
	UDP         Protocol = "udp"
	ICMP        Protocol = "icmp"
)

// Anywhere is every address.
const Anywhere = "0.0.0.0/0"

// maxRules is how many rules a group may have.
const maxRules = 1000

// SecurityGroupSpec is a firewall: what no rule lets through is dropped.
type SecurityGroupSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Rules let connections through. Answers of a connection need no rule. A port in several groups has the rules
	// of all of them.
	Rules []SecurityRule `json:"rules,omitempty"`
}

// SecurityRule lets connections through.
type SecurityRule struct {
	// Name is its name within the group; empty in a request: rule0, rule1, …
	Name string `json:"name"`
	// Direction is ingress (others connect to the port) or egress (the port connects to others).
	Direction Direction `json:"direction" enum:"ingress,egress"`
	// Protocol is any, tcp, udp or icmp.
	Protocol Protocol `json:"protocol" enum:"any,tcp,udp,icmp"`
	// FirstPort and LastPort are the ports that are connected to; 0: all.
	FirstPort int64 `json:"firstPort,omitempty"`
	LastPort  int64 `json:"lastPort,omitempty"`
	// CIDR is the range of the other side's addresses; GroupID the group whose members the other side is of, which a
	// request may name. Both empty: 0.0.0.0/0, which is everybody.
	CIDR    string      `json:"cidr,omitempty"`
	GroupID resource.ID `json:"groupID,omitempty" ref:"securitygroup"`
	// Description is for people.
	Description string `json:"description,omitempty"`
}

// SecurityGroupStatus is what is known of it.
type SecurityGroupStatus struct {
	resource.Observed
	// Phase is pending or ready: its rules are in force for all of its members.
	Phase string `json:"phase,omitempty" enum:"pending,ready"`
}

// SecurityGroup is a firewall that ports share.
type SecurityGroup = resource.Record[SecurityGroupSpec, SecurityGroupStatus]

// SecurityGroups is the kind.
var SecurityGroups = resource.Define("securitygroup", "securitygroups", resource.Options[SecurityGroupSpec, SecurityGroupStatus]{
	Doc: "A firewall that ports share: rules that let connections through.", Scope: resource.InProject,
	Counts: map[string]func(*SecurityGroup) int64{"securitygroups": resource.One[SecurityGroupSpec, SecurityGroupStatus]},
	Needs: func(g *SecurityGroup) []resource.Need {
		var ids []resource.ID
		for _, r := range g.Spec.Rules {
			if r.GroupID != g.ID { // it may speak of its own members, and keeps nobody by it
				ids = append(ids, r.GroupID)
			}
		}
		return GroupNeeds(g.Project, ids)
	},
})

// GroupNeeds keeps groups, each once.
func GroupNeeds(project resource.ID, ids []resource.ID) (out []resource.Need) {
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		out = append(out, resource.Need{Ref: resource.Ref{Kind: "securitygroup", Project: project, ID: id}})
	}
	return out
}

// Open says that a group lets everything through, in both directions: it is as none.
func (s *SecurityGroupSpec) Open() bool {
	open := map[Direction]bool{}
	for _, r := range s.Rules {
		if r.Protocol == AnyProtocol && r.CIDR == Anywhere {
			open[r.Direction] = true
		}
	}
	return open[Ingress] && open[Egress]
}

// Default fills in what was left out of a group's rules.
func (s *SecurityGroupSpec) Default() {
	taken := map[string]bool{}
	for _, r := range s.Rules {
		taken[r.Name] = true
	}
	next := 0
	for i := range s.Rules {
		r := &s.Rules[i]
		if r.Direction == "" {
			r.Direction = Ingress
		}
		if r.Protocol == "" {
			r.Protocol = AnyProtocol
		}
		if r.LastPort == 0 {
			r.LastPort = r.FirstPort
		}
		if p, err := netip.ParsePrefix(r.CIDR); err == nil {
			r.CIDR = p.Masked().String()
		} else if a, err := netip.ParseAddr(r.CIDR); err == nil && a.Is4() {
			r.CIDR = netip.PrefixFrom(a, 32).String()
		}
		if r.CIDR == "" && r.GroupID == "" {
			r.CIDR = Anywhere
		}
		for ; r.Name == ""; next++ {
			if name := fmt.Sprint("rule", next); !taken[name] {
				r.Name, taken[name] = name, true
			}
		}
	}
}

// Check lists what is wrong with a group by itself.
func (s *SecurityGroupSpec) Check() []fault.Detail {
	var out []fault.Detail
	if len(s.Rules) > maxRules {
		out = append(out, fault.Detail{Field: "spec.rules", Message: fmt.Sprintf("%d rules are more than %d; write ranges, or make another group", len(s.Rules), maxRules)})
	}
	names, same := map[string]bool{}, map[SecurityRule]string{}
	for i, r := range s.Rules {
		at := fmt.Sprintf("spec.rules[%d].", i)
		out = append(out, r.check(at)...)
		if names[r.Name] {
			out = append(out, fault.Detail{Field: at + "name", Message: fmt.Sprintf("another rule is called %s", r.Name)})
		}
		names[r.Name] = true
		plain := r
		plain.Name, plain.Description = "", ""
		if first, there := same[plain]; there {
			out = append(out, fault.Detail{Field: at[:len(at)-1], Message: fmt.Sprintf("says what rule %s says", first)})
		}
		same[plain] = r.Name
	}
	return out
}

func (r *SecurityRule) check(at string) []fault.Detail {
	var out []fault.Detail
	wrong := func(field, format string, args ...any) {
		out = append(out, fault.Detail{Field: at + field, Message: fmt.Sprintf(format, args...)})
	}
	if !label.MatchString(r.Name) {
		wrong("name", "%q is no name: lower case letters, digits and dashes", r.Name)
	}
	if r.Direction != Ingress && r.Direction != Egress {
		wrong("direction", "%q is neither ingress nor egress", r.Direction)
	}
	if !slices.Contains([]Protocol{AnyProtocol, TCP, UDP, ICMP}, r.Protocol) {
		wrong("protocol", "%q is none of any, tcp, udp, icmp", r.Protocol)
	}
	switch {
	case r.FirstPort == 0 && r.LastPort == 0:
	case r.Protocol != TCP && r.Protocol != UDP:
		wrong("firstPort", "%s has no ports; say protocol tcp or udp, or leave the ports out", r.Protocol)
	case r.FirstPort < 1 || r.LastPort > 65535:
		wrong("firstPort", "%d to %d are no ports between 1 and 65535", r.FirstPort, r.LastPort)
	case r.FirstPort > r.LastPort:
		wrong("lastPort", "%d is below the first port, %d", r.LastPort, r.FirstPort)
	}
	switch p, err := netip.ParsePrefix(r.CIDR); {
	case r.CIDR != "" && r.GroupID != "":
		wrong("cidr", "a rule is for a range or for a group, not for both; make two rules")
	case r.CIDR != "" && (err != nil || !p.Addr().Is4()):
		wrong("cidr", "%q is no IPv4 range like 10.0.0.0/24", r.CIDR)
	}
	return out
}

// checkRules says whether the groups that rules name are there. Of itself a group may speak.
func checkRules(s *store.Snapshot, doing string, g *SecurityGroup, spec *SecurityGroupSpec) error {
	for i := range spec.Rules {
		r := &spec.Rules[i]
		if string(r.GroupID) == g.Name {
			r.GroupID = g.ID // of a group that is being made nobody knows the name yet
		}
		if r.GroupID == "" || r.GroupID == g.ID {
			continue
		}
		if err := CheckGroups(s, doing, g.Project, []resource.ID{r.GroupID}); err != nil {
			return err
		}
	}
	return nil
}

// GroupsOrDefault are the groups of a port that is asked for: those that are named, or else the project's default one,
// if the project has it still.
func GroupsOrDefault(s *store.Snapshot, project resource.ID, named []resource.ID) ([]resource.ID, error) {
	if len(named) > 0 {
		return named, CheckGroups(s, "join", project, named)
	}
	if g := store.Named(s, SecurityGroups, project, DefaultGroup); g != nil && g.Deleting == nil {
		return []resource.ID{g.ID}, nil
	}
	return nil, nil
}

// CheckGroups says whether groups are there, in a project.
func CheckGroups(s *store.Snapshot, doing string, project resource.ID, ids []resource.ID) error {
	for i, id := range ids {
		g := store.Find(s, SecurityGroups, id)
		switch {
		case g == nil || g.Project != project:
			return fault.New(fault.NotFound, "%s: there is no security group %q in project %s; see virga security-group list", doing, id, s.NameOf(project))
		case g.Deleting != nil:
			return fault.New(fault.Precondition, "%s: security group %s is being deleted", doing, g.Name)
		case slices.Contains(ids[:i], id):
			return fault.New(fault.Invalid, "%s: security group %s is named twice", doing, g.Name)
		}
	}
	return nil
}
