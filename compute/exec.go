package compute

import (
	"fmt"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

// ExecRequest is a command for the guest of a VM, which its agent runs.
type ExecRequest struct {
	// Command is the program and its arguments; no shell reads it.
	Command []string `json:"command"`
	// Env are words NAME=value of its environment; none: the agent's own.
	Env []string `json:"env,omitempty"`
	// Stdin is what it reads; base64 in JSON.
	Stdin []byte `json:"stdin,omitempty"`
	// TimeoutSeconds is how long it is waited for; 60 unless said otherwise, at most 600. It goes on after that.
	TimeoutSeconds int64 `json:"timeoutSeconds,omitempty"`
}

// ExecResult is how a command in a guest ended.
type ExecResult struct {
	// ExitCode is the program's; where a signal ended it, Signal says which.
	ExitCode int64 `json:"exitCode"`
	Signal   int64 `json:"signal,omitempty"`
	// Stdout and Stderr are what it wrote; base64 in JSON.
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	// Truncated says that it wrote more than the guest's agent keeps.
	Truncated bool `json:"truncated,omitempty"`
}

// The limits of what is done inside a guest.
const (
	MaxExecTime  = 10 * time.Minute
	MaxExecStdin = 48 << 10  // bytes, as the agent takes one request
	MaxGuestFile = 256 << 20 // bytes
)

// Default fills in what was not said.
func (r *ExecRequest) Default() {
	if r.TimeoutSeconds == 0 {
		r.TimeoutSeconds = 60
	}
}

// Timeout is how long it is waited for.
func (r *ExecRequest) Timeout() time.Duration { return time.Duration(r.TimeoutSeconds) * time.Second }

// Check refuses what cannot be run.
func (r *ExecRequest) Check() error {
	var out []fault.Detail
	wrong := func(field, format string, args ...any) {
		out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	size := 0
	for _, word := range append(r.Env, r.Command...) {
		size += len(word)
		if strings.ContainsRune(word, 0) {
			wrong("command", "a zero byte cannot be in it")
		}
	}
	switch {
	case len(r.Command) == 0 || r.Command[0] == "":
		wrong("command", "name the program, for example /bin/ls")
	case size > 16<<10:
		wrong("command", "%d bytes are more than the %d that are taken", size, 16<<10)
	}
	for i, word := range r.Env {
		if !strings.Contains(word, "=") {
			wrong(fmt.Sprintf("env[%d]", i), "%q is not NAME=value", word)
		}
	}
	if len(r.Stdin) > MaxExecStdin {
		wrong("stdin", "%d bytes are more than the %d that are taken; send a file first (virga vm cp)", len(r.Stdin), MaxExecStdin)
	}
	if t := r.Timeout(); t < time.Second || t > MaxExecTime {
		wrong("timeoutSeconds", "%d is not between 1 and %d", r.TimeoutSeconds, int64(MaxExecTime/time.Second))
	}
	return fault.Fields("run a command in the guest", out)
}

// CheckGuestPath refuses what is no path of a file in a guest.
func CheckGuestPath(path string) error {
	if path == "" || len(path) > 4096 || strings.ContainsRune(path, 0) {
		return fault.Fields("a file in the guest", []fault.Detail{{Field: "path", Message: "name the file by its whole path, for example /etc/hostname"}})
	}
	return nil
}
