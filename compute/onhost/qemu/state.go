package qemu

import (
	"context"
	"fmt"
	"strings"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// List implements onhost.Hypervisor.
func (d *Driver) List(ctx context.Context) ([]onhost.Guest, error) {
	d.mu.Lock()
	all := d.all()
	d.mu.Unlock()
	var out []onhost.Guest
	for _, g := range all {
		seen, err := d.Look(ctx, g.id)
		if err != nil {
			return nil, fault.Wrap(err, "list the guests")
		}
		if seen.State != onhost.Absent {
			out = append(out, seen)
		}
	}
	return out, nil
}

// Look implements onhost.Hypervisor.
func (d *Driver) Look(ctx context.Context, id resource.ID) (onhost.Guest, error) {
	g, err := d.known(id)
	if fault.Is(err, fault.NotFound) {
		return onhost.Guest{ID: id}, nil
	}
	if err != nil {
		if d.ctx.Err() != nil {
			return onhost.Guest{}, err
		}
		return onhost.Guest{ID: id, State: onhost.Silent, Problem: err.Error()}, nil // its state cannot be read
	}
	defer g.mu.Unlock()
	return g.look(ctx)
}

func (g *guest) look(ctx context.Context) (onhost.Guest, error) {
	out := g.picture()
	if !g.alive() {
		if err := g.finish(); err != nil {
			return out, err
		}
		out = g.picture()
		out.State = onhost.Ended
		return out, nil
	}
	word, err := g.status(ctx)
	if err != nil {
		if ctx.Err() == nil && !g.proc.waitEnd(settle) { // it is not just ending
			out = g.picture()
			out.State, out.Problem = onhost.Silent, "QEMU does not answer: "+err.Error()
			if g.saved.Adrift {
				out.Problem = adrift
			}
			return out, nil
		}
		if !g.alive() {
			return g.look(ctx)
		}
		return out, err
	}
	out.State, out.Problem = stateOf(word, g.saved)
	if g.saved.Incoming && !g.saved.Resumed && out.State == onhost.Running {
		g.saved.Resumed = true
		if err := g.keep(); err != nil {
			return out, err
		}
	}
	out.Transfer = g.saved.Transfer
	g.trimLog()
	return out, nil
}

// status asks QEMU for its state in its own word, and how its transfer goes.
func (g *guest) status(ctx context.Context) (string, error) {
	if !g.saved.Ready { // the daemon died in the middle of a start
		err := g.prepare(ctx, nil)
		if err != nil && ctx.Err() == nil && g.d.cfg.Now().Sub(g.saved.StartedAt) > 2*startLimit {
			err = g.failed(err)
		}
		if err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	word, err := g.word(ctx)
	if t := g.saved.Transfer; err == nil && (t.State == onhost.TransferActive || t.State == onhost.TransferDone && t.TotalMillis == 0) {
		if err = g.followTransfer(ctx); err == nil && g.saved.Transfer.State != t.State {
			word, err = g.word(ctx) // it was asked before the end, when the guest may still have run
		}
	}
	return word, err
}

func (g *guest) word(ctx context.Context) (string, error) {
	var status struct {
		Status string `json:"status"`
	}
	err := g.do(ctx, "query-status", nil, &status)
	return status.Status, err
}

func (g *guest) picture() onhost.Guest {
	s := g.saved
	return onhost.Guest{
		ID: g.id, Epoch: s.Epoch, PID: s.PID, StartedAt: s.StartedAt, EndedAt: s.EndedAt, Exit: s.Exit, ExitMessage: s.ExitMessage,
		AskedAt: s.AskedAt, Asks: s.Asks, Transfer: s.Transfer,
	}
}

// stateOf translates QEMU's word.
func stateOf(word string, s saved) (onhost.State, string) {
	switch word {
	case "running", "finish-migrate", "save-vm", "colo", "suspended":
		return onhost.Running, ""
	case "inmigrate":
		return onhost.Incoming, ""
	case "postmigrate":
		return onhost.Sent, ""
	case "shutdown":
		return onhost.Off, ""
	case "watchdog":
		return onhost.Crashed, "the guest did not feed its watchdog any more"
	case "guest-panicked", "internal-error":
		return onhost.Crashed, ""
	case "io-error":
		return onhost.Paused, "the guest was paused because its disk cannot be written: the datastore may be full"
	}
	if s.Incoming && !s.Resumed {
		return onhost.Received, ""
	}
	return onhost.Paused, ""
}

// howEnded says what is known of an end that nobody here brought about.
func howEnded(s saved, p *process, bootNow string) (compute.Exit, string) {
	switch {
	case s.BootID != bootNow:
		return compute.ExitLost, "the host was started again"
	case !s.Ready:
		return compute.ExitFailed, "QEMU ended before the guest could start"
	case s.Incoming && !s.Resumed:
		return compute.ExitFailed, "QEMU ended before the guest's memory had arrived and was let run"
	case p == nil || p.status == nil:
		return compute.ExitLost, "QEMU was gone, and nobody saw how it ended"
	case p.status.Signaled():
		return compute.ExitCrashed, fmt.Sprintf("QEMU was killed by signal %d (%s)", p.status.Signal(), p.status.Signal())
	default:
		return compute.ExitCrashed, fmt.Sprintf("QEMU ended with status %d", p.status.ExitStatus())
	}
}

// kindOfText is the one place that reads QEMU's words: it has no codes. What is not known
// here is a bug of ours, which is what internal says.
func kindOfText(text string) fault.Kind {
	for words, kind := range map[string]fault.Kind{
		`Failed to get "write" lock`:         fault.Conflict,
		`Failed to get "consistent read"`:    fault.Conflict,
		`Failed to get shared "write" lock`:  fault.Conflict,
		"Is another process using the image": fault.Conflict,
		"Permission denied":                  fault.Precondition,
		"No such file or directory":          fault.Precondition,
		"Could not access KVM":               fault.Precondition,
		"failed to set MSR":                  fault.Precondition,
		"failed to initialize kvm":           fault.Precondition,
		"unsupported machine type":           fault.Precondition,
		"Cannot allocate memory":             fault.Exhausted,
		"cannot set up guest memory":         fault.Exhausted,
		"No space left on device":            fault.Exhausted,
	} {
		if strings.Contains(text, words) {
			return kind
		}
	}
	return fault.Internal
}

// wordsFor adds what to do.
func wordsFor(kind fault.Kind, text string) string {
	switch {
	case kind == fault.Conflict:
		return "a disk is in use elsewhere: " + text
	case strings.Contains(text, "KVM"), strings.Contains(text, "kvm"), strings.Contains(text, "MSR"):
		return "kvm does not work on this host, use tcg: " + text
	}
	return text
}
