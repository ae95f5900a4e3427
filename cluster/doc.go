// Package cluster knows the clusters: hosts that share capacity and settings.
//
// Noun: Cluster (spec by the API; nothing is observed of one). Every host belongs to one, named by its
// spec: the cluster default, which is there from the first start, or another. What a host's spec leaves
// out, its cluster says; Ratios is the one place that reads both. A cluster that has hosts is not deleted,
// and a host does not come into one that is going: the commit that puts it there holds the cluster.
//
// The folders below decide over many hosts: placement is the one gate that puts work onto them.
package cluster
