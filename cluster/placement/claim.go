package placement

import (
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// ClaimSpec is capacity that is promised to a workload on a host.
type ClaimSpec struct {
	// Workload is who may use it: a VM.
	Workload resource.Ref `json:"workload"`
	// HostID is the host.
	HostID resource.ID `json:"hostID"`
	// Demand is what is promised.
	Demand
	// NUMA are the parts that are bound to memory nodes of the host; empty: none is.
	NUMA []host.NUMAPart `json:"numa,omitempty"`
	// AffinityRuleIDs are the affinity rules that the workload is in.
	AffinityRuleIDs []resource.ID `json:"affinityRuleIDs,omitempty"`
	// Epoch is the workload's epoch that the claim is made for.
	Epoch int64 `json:"epoch"`
	// Why says who asked and why this host, in words.
	Why string `json:"why"`
}

// ClaimStatus has nothing to observe.
type ClaimStatus struct{ resource.Observed }

// Claim is capacity that is promised to a workload on a host.
type Claim = resource.Record[ClaimSpec, ClaimStatus]

// Claims is the kind.
var Claims = resource.Define("claim", "claims", resource.Options[ClaimSpec, ClaimStatus]{
	Doc: "Capacity of a host that is promised to a VM.", Scope: resource.InProject,
	Guards: map[string]resource.Sight{"spec.why": resource.Operator, "spec.hostID": resource.Operator},
	Refs: func(c *Claim) (out []resource.Ref) {
		for _, id := range c.Spec.AffinityRuleIDs {
			out = append(out, resource.Ref{Kind: AffinityRules.Kind, Project: c.Project, ID: id})
		}
		return out
	},
	Needs: func(c *Claim) []resource.Need {
		return []resource.Need{
			{Ref: c.Spec.Workload, Tie: resource.Following},
			{Ref: host.Ref(c.Spec.HostID), Tie: resource.Following},
		}
	},
})
