// Package lab runs a whole cloud on one host: the real binary, real switches, real guests.
//
// Each host is a network namespace with its own state and run folders. An underlay namespace
// holds the link between them, and an outside namespace stands for the world:
//
//	h1 192.168.77.1 ──┐
//	h2 192.168.77.2 ──┼── underlay bridge ── outside 192.168.77.254, and 203.0.113.1 behind it
//	h3 ...          ──┘
//
// The tests are life stories, told through the command line and checked from inside the guests.
// A story leaves nothing behind; what a killed run has left is swept away by the next one, which
// knows it by the number of a process that is gone.
package lab
