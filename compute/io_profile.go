package compute

// IOProfile says what the way of a disk or NIC through QEMU is made for.
type IOProfile string

// The profiles.
const (
	DefaultIO IOProfile = "default"
	// Throughput is for guests with many or large requests under way: a queue for each virtual CPU, longer rings,
	// and for a disk a thread of its own. It costs memory and a thread.
	Throughput IOProfile = "throughput"
)

// maxQueues is the most queues that one device gets: each of a NIC is an open file of QEMU.
const maxQueues = 8

// queues is how many queues a device of a profile has; 0: those of the default.
func (p IOProfile) queues(cpus int64) int64 {
	if p != Throughput {
		return 0
	}
	return min(cpus, maxQueues)
}

// check judges the profile of a device of a model.
func (p IOProfile) check(field, model, able string, wrong func(field, format string, args ...any)) {
	switch {
	case p != DefaultIO && p != Throughput:
		wrong(field, "%q is neither default nor throughput", p)
	case p == Throughput && model != able:
		wrong(field, "throughput is for model %s; %s has the default alone", able, model)
	}
}
