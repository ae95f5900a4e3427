package qemu

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// The files of a guest. What the daemon trusts lies in the guest's folder, which is root's; what
// QEMU makes, a picture of the screen, lies in a folder of its own user below it.
const (
	stateFile    = "state.json"
	stderrFile   = "stderr.log"
	seedFile     = "seed.iso"
	ownFolder    = "vm"
	qmpSocket    = "qmp.sock"
	serialSocket = "serial.sock"
	agentSocket  = "qga.sock"
	screenFile   = "screen.png"
	longestName  = len(serialSocket)
)

// saved is what must outlive the daemon. It is written before what it speaks of is done.
type saved struct {
	ID    resource.ID `json:"id"`
	VMID  resource.ID `json:"vmID"`
	Epoch int64       `json:"epoch"`
	UID   int64       `json:"uid"`
	// PID, Ticks and BootID are the process: its number, when it began in clock ticks since the
	// host's boot, and that boot. PID 0: it may or may not have been started.
	PID    int    `json:"pid,omitempty"`
	Ticks  uint64 `json:"ticks,omitempty"`
	BootID string `json:"bootID"`
	// Ready: it was verified, and waits for memory if it is to.
	Ready    bool `json:"ready,omitempty"`
	Incoming bool `json:"incoming,omitempty"`
	// Resumed: a guest that received its memory has run here.
	Resumed bool `json:"resumed,omitempty"`
	Screen  bool `json:"screen,omitempty"`
	// Grows: its memory may grow while it lives.
	Grows bool `json:"grows,omitempty"`
	// Group is its control group; empty: the one that its id gives.
	Group string `json:"group,omitempty"`
	// Threads are, for each virtual CPU, the host's threads that it is kept on; empty: it may run on all.
	Threads [][]int `json:"threads,omitempty"`
	// Adrift: its sockets are gone, and nobody can speak to it.
	Adrift bool `json:"adrift,omitempty"`

	StartedAt   time.Time       `json:"startedAt"`
	EndedAt     time.Time       `json:"endedAt,omitzero"`
	Exit        compute.Exit    `json:"exit,omitempty"`
	ExitMessage string          `json:"exitMessage,omitempty"`
	AskedAt     time.Time       `json:"askedAt,omitzero"`
	Asks        int             `json:"asks,omitempty"`
	Transfer    onhost.Transfer `json:"transfer"`
}

func load(dir string) (saved, error) {
	var s saved
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fault.New(fault.Internal, "read %s: %w", filepath.Join(dir, stateFile), err)
	}
	return s, nil
}

// save replaces the file. It outlives a power cut, because what it says must be true before the next
// thing is done.
func (s saved) save(dir string) error {
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fault.New(fault.Internal, "encode the state of instance %s: %w", s.ID, err)
	}
	if err := durable.Write(filepath.Join(dir, stateFile), data, 0o600); err != nil {
		return fault.New(fault.Unavailable, "keep the state of instance %s: %w", s.ID, err)
	}
	return nil
}

// bootID tells one boot of the host from another.
func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}
