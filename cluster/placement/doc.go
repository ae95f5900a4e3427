// Package placement is the one gate that puts work onto hosts.
//
// First start, migration and, later, HA, DRS and drain all ask it with a Request: who (a workload,
// whatever it is), how much (Demand) and within which Constraints. The Gate decides from a State,
// which a Feed keeps equal to the view change by change, and commits a Claim (workload, host, CPU and
// memory, epoch, why). Filters say which hosts may be taken, scores which is best; both are lists of
// named values. The search ends when enough hosts fit and the next one begins where it ended. A Clone
// of the State answers what would be if. No host: one error with the reasons, each told once.
package placement
