// Package placement is the one gate that puts work onto hosts.
//
// First start, migration and, later, HA, DRS and drain all ask it. It checks against the newest
// view and commits a Claim (workload, host, CPU and memory, epoch, why). Choose is pure: from a
// snapshot of facts to a host, or to a reason for every host that was refused.
package placement
