package qemu

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/virga-cloud/virga/engine/resource"
)

// A guest's folder can be emptied or removed under it. Its QEMU process runs on, with its disks open:
// it is found by its own name and by the folder, both on its command line, and held like any other,
// so that no second copy is started beside it and it can be ended. If its sockets are gone there is
// no way to speak to it: nobody can connect to a socket without a name.

// adrift says what can still be done with such a guest.
const adrift = "the folder of its sockets was removed while it ran: it runs on, without console and monitor; " +
	"shut it down from inside, or stop it by force, and start it again"

// stray is a QEMU process of this driver, as its command line tells.
type stray struct {
	pid      int
	id, vmID resource.ID
}

// strays finds the QEMU processes whose guests have their folders below one.
func strays(runDir string) []stray {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	var out []stray
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		found, ok := readStray(strings.Split(string(data), "\x00"), runDir)
		if !ok {
			continue
		}
		if found.pid, err = strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
			out = append(out, found)
		}
	}
	return out
}

// readStray reads a command line of ours; false: it is somebody else's.
func readStray(args []string, runDir string) (stray, bool) {
	var s stray
	for i, word := range args[:len(args)-1] {
		switch word {
		case "-name":
			name, _, _ := strings.Cut(strings.TrimPrefix(args[i+1], "guest="), ",")
			if id, ours := strings.CutPrefix(name, GuestName("")); ours && uuid.Validate(id) == nil {
				s.id = resource.ID(id)
			}
		case "-uuid":
			if uuid.Validate(args[i+1]) == nil {
				s.vmID = resource.ID(args[i+1])
			}
		}
	}
	if s.id == "" || s.vmID == "" {
		return s, false
	}
	mark := "opaque=" + escaped(filepath.Join(runDir, string(s.id)))
	return s, slices.ContainsFunc(args, func(word string) bool { return strings.HasSuffix(word, mark) })
}

// rescue takes hold of the guests that run and whose saved state is gone.
func (d *Driver) rescue() {
	for _, s := range strays(d.cfg.RunDir) {
		g := d.guest(s.id)
		g.mu.Lock()
		if g.broken == nil && g.saved.ID == "" {
			if err := g.rescue(s); err != nil {
				g.broken = err
			}
		}
		g.mu.Unlock()
	}
}

// rescue is called with the lock held. The epoch is not known: the next owner who asks has it.
func (g *guest) rescue(s stray) error {
	p, err := adopt(g.id, s.pid, 0)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, dir := range []string{g.dir, g.own()} {
		if err := os.Mkdir(dir, 0o710); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	ticks, err := startTicks(s.pid)
	if err != nil {
		return err
	}
	g.saved = saved{ID: g.id, VMID: s.vmID, UID: userOf(s.pid), PID: s.pid, Ticks: ticks, BootID: bootID(), Ready: true, StartedAt: g.d.cfg.Now().UTC()}
	_, noSocket := os.Lstat(g.socket(qmpSocket))
	g.saved.Adrift = noSocket != nil
	g.log = g.d.serialLog(s.vmID)
	if err := g.keep(); err != nil {
		return err
	}
	g.hold(p)
	slog.Warn("a guest runs whose saved state is gone; it is adopted", "instance", g.id, "vm", s.vmID, "pid", s.pid, "sockets", !g.saved.Adrift)
	return nil
}

// userOf is the user that a process runs as; 0 if nobody can tell.
func userOf(pid int) int64 {
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return 0
	}
	return int64(info.Sys().(*syscall.Stat_t).Uid)
}
