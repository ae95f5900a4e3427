// Package sim runs a whole cloud in one process and one goroutine, in virtual time.
//
// The loops are the real ones: those of a server, and those of an agent for each host. Only what
// lies below the drivers is played: guests, folders and switches are fakes that outlive the agents
// that use them. Each daemon (the server, each agent) has a view of its own that is fed with a
// delay; an agent's is narrowed to its host.
//
// A seed decides every delay and the order of everything that is due, so a run can be repeated
// exactly. After every step the invariants are checked (invariants.go); at quiescence every
// record is looked at once more by every loop, and nothing may change (quiescence.go).
//
// A story (story.go) is a script in a .txtar file: hosts, VMs, faults, expectations. With an
// "interrupt" line it is told again and again, each time with the interruption one effect later:
// a daemon that dies at each step of a migration, a user who cancels it at each step.
//
// An effect is a commit, or a call of a driver that changes something. A daemon that crashes at an
// effect has done it and knows nothing of it.
package sim
