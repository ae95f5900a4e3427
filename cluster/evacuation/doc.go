// Package evacuation empties hosts that are in maintenance: their VMs move away by live migration.
//
// Noun: Evacuation, one for each host in maintenance (both halves by the evacuation loop). It is made
// when the host's mode says maintenance, and goes when the host is active or cordoned again; VMs that
// have moved stay where they are. The loop reads what is on the host, asks Next which migrations begin
// now, and starts those as operations like any that a person asks for: no more than a few at once, those
// that failed again after a growing pause. What cannot move (a VM that is pinned, paused, or for which no
// other host is fit) is told with its reason and looked at again: whoever mends it need not say so.
//
// States: emptying (migrations work or are due), blocked (nothing moves, and somebody has to act), empty
// (nothing is left: the host may be switched off).
package evacuation
