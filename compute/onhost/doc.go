// Package onhost makes one host's instances real: it is the half of compute that runs in an agent.
//
// The loop (NewInstanceLoop) compares each instance's record with what a Hypervisor says of the
// guest, decides by a pure function (decide), and does one thing at a time. It writes the status
// "starting" before it lets anything start, so that after a crash it knows what may have happened.
//
// An instance is one run of a QEMU process. Once it has started it is never started again: a
// process that is gone is reported as stopped, with the way it ended, and the VM loop makes the
// next instance. So a guest can never run twice because an agent forgot.
//
//	desired    guest              what is done
//	running    nothing            wait for disks and ports, start
//	           paused, received   resume (a received guest thereby opens its disks)
//	           sent, no Outgoing  resume: the migration was called off
//	paused     running            pause
//	incoming   nothing            start with nothing in memory, wait for it
//	stopped    running, paused    ask the guest, again every 10 s, force after StopTimeoutSeconds
//	           sent, received     end at once: a guest that is not the VM must never run
//	killed     anything           end at once
//
// Disks grow under a guest that lives (Grower), never while it moves.
//
// Processors (Divider) and memory (MemoryDivider) are divided among the guests by their policies, as what they
// use changes: a pure function of what was seen, and nothing is remembered that a restart could lose.
//
// A guest that ends by itself leaves its QEMU behind, stopped: whoever looks first, also an
// agent that has just started, writes down how it ended, and only then lets QEMU go.
//
// What a guest says on its serial line is kept by its VM (Logger), and goes when a server says
// that the VM was deleted (LogSweeper).
//
// Not seen is not gone: before the first complete List nothing is done at all. Guests without a
// record are orphans; Sweeper ends them only after it has missed their record twice.
package onhost
