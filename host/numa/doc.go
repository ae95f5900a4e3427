// Package numa decides on which memory nodes of a host a workload lies. It is arithmetic on an inventory:
// the gate of placement decides with it before anything runs, and the host's agent only carries out.
//
// A Cell is a memory node that can be bound to: it has memory, and threads. The threads of a node without
// memory belong to the nearest node that has some, which is where the kernel takes their memory from. A node
// without threads (memory on an expansion bus) is no cell: its memory is for workloads that are not bound.
//
// Plan puts a workload onto one cell where it fits, else onto as few as possible, in equal parts. Of the
// cells that it fits on it takes the one whose threads are least promised, and among equals the one with the
// least memory left: a bound guest cannot flee to an idle node as an unbound one can, so that filling one node
// first would let it wait for threads beside idle ones, while memory is either there or not and is better
// used up in one place. Several cells are those that are nearest to each other.
//
// Memory that is bound is physical: a cell is never overcommitted, whatever the host's ratio, because a node
// that is full swaps, or kills, while others are empty. Who does not fit is not bound; the kernel then
// spreads its pages.
package numa
