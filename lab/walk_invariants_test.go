package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// settle waits until the cloud is as specified, seen from outside, and until its switches carry every guest.
func (w *walk) settle(after string) {
	w.t.Helper()
	w.until(after, 3*time.Minute, w.astray)
}

// sweptUp waits until what has no record any more is gone from the disks too; sweepers take their time.
func (w *walk) sweptUp() {
	w.t.Helper()
	w.aged()
	w.until("the end", 6*time.Minute, w.leftOver)
}

// aged makes what is half made on the disks two hours old. It is left alone for an hour, whoever makes it.
func (w *walk) aged() {
	halves, _ := filepath.Glob(filepath.Join(w.dir, "shared", ".partial", "*"))
	for _, h := range w.Hosts {
		here, _ := filepath.Glob(filepath.Join(h.State, "datastore", ".partial", "*"))
		halves = append(halves, here...)
	}
	for _, half := range halves {
		long := time.Now().Add(-2 * time.Hour)
		if err := os.Chtimes(half, long, long); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Error(err)
		}
	}
}

func (w *walk) until(after string, within time.Duration, wrong func() []string) {
	w.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(300 * time.Millisecond) {
		left := wrong()
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%v after %s it is still not as specified:\n%s", within, after, strings.Join(left, "\n"))
		}
	}
}

// read lists records of a kind; a server that does not answer gives an error.
func read[T any](h *Host, noun string) (out []T, err error) {
	text, err := h.Virga(noun, "list", "-o", "json")
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal([]byte(text), &out)
}

type vmSeen struct {
	ID, Name string
	Spec     struct{ MemoryMiB int }
	Status   struct{ Phase, HostID, OperationID string }
}

type volumeSeen struct {
	ID, Name string
	Status   struct {
		Phase   string
		SizeMiB int
	}
}

// astray says in what the cloud differs from what was asked for: by its records first, then by what is on its hosts.
func (w *walk) astray() (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	vms, err := read[vmSeen](w.h, "vm")
	if err != nil {
		return []string{err.Error()}
	}
	volumes, err := read[volumeSeen](w.h, "volume")
	if err != nil {
		return []string{err.Error()}
	}
	sizes := map[string]int{}
	for _, v := range volumes {
		sizes[v.Name] = v.Status.SizeMiB
	}
	running, now := 0, map[*wanted]string{}
	for _, vm := range vms {
		want := w.vms[vm.Name]
		switch phase := map[bool]string{true: "running", false: "stopped"}; {
		case want == nil:
			say("VM %s is there: %s", vm.Name, vm.Status.Phase)
			continue
		case vm.Status.Phase != phase[want.running] || vm.Status.OperationID != "":
			say("VM %s is %s, operation %q; it should be %s", vm.Name, vm.Status.Phase, vm.Status.OperationID, phase[want.running])
		case vm.Spec.MemoryMiB != want.memoryMiB || sizes[vm.Name+"-disk0"] != want.diskMiB:
			say("VM %s has %d MiB of memory and %d of disk; it should have %d and %d", vm.Name, vm.Spec.MemoryMiB, sizes[vm.Name+"-disk0"], want.memoryMiB, want.diskMiB)
		}
		processes := w.processes(vm.ID)
		if want.running {
			running++
		}
		if len(processes) != map[bool]int{true: 1}[want.running] {
			say("VM %s has the processes %v", vm.Name, processes)
		} else if want.running {
			now[want] = strings.Join(strings.Fields(processes[0])[:2], " ")
		}
	}
	for noun, number := range map[string]int{"vm": len(w.vms), "volume": len(w.vms), "port": len(w.vms), "allocation": len(w.vms), "instance": running, "claim": running, "attachment": running, "portbinding": running} {
		if names, err := w.h.Virga(noun, "list", "-o", "name"); err != nil || len(strings.Fields(names)) != number {
			say("of %s there are %v, %v; it should be %d", noun, strings.Fields(names), err, number)
		}
	}
	wrong = append(wrong, w.astrayImages()...)
	wrong = append(wrong, w.astrayHosts(running)...)
	if status, err := w.h.Virga("status", "-o", "json"); err != nil || !strings.Contains(status, `"problems": []`) || strings.Count(status, `"state": "alive"`) != len(w.Hosts) {
		say("virga status: %s %v", status, err)
	}
	if log, _ := w.h.Virga("operation", "list"); regexp.MustCompile(`\b(running|undoing|pending)\b`).MatchString(log) {
		say("an operation is under way: %s", log)
	}
	if len(wrong) == 0 {
		w.guestsLiveOn(now)
	}
	return wrong
}

// guestsLiveOn demands that nobody's process is another than it was, and keeps which it is.
func (w *walk) guestsLiveOn(now map[*wanted]string) {
	w.t.Helper()
	for vm, process := range now {
		if vm.process != "" && vm.process != process {
			w.t.Fatalf("a guest was started again that nobody stopped or moved: its process was %s and is %s", vm.process, process)
		}
		vm.process = process
	}
}

func (w *walk) astrayImages() (wrong []string) {
	images, err := read[volumeSeen](w.h, "image")
	if err != nil {
		return []string{err.Error()}
	}
	var names []string
	for _, i := range images {
		names = append(names, i.Name)
		if i.Status.Phase != "ready" {
			wrong = append(wrong, fmt.Sprintf("image %s is %s", i.Name, i.Status.Phase))
		}
	}
	slices.Sort(names)
	if want := slices.Sorted(slices.Values(w.images)); !slices.Equal(names, want) {
		wrong = append(wrong, fmt.Sprintf("the images are %v; they should be %v", names, want))
	}
	return wrong
}

var interfaces = regexp.MustCompile(`vt[0-9a-f]{12}`)

// astrayHosts looks at processes, taps and rows of the switches.
func (w *walk) astrayHosts(running int) (wrong []string) {
	processes, taps, ports := 0, 0, 0
	for _, h := range w.Hosts {
		p, t, _ := h.effects()
		processes, taps = processes+p, taps+t
		rows, err := h.Exec("ovs-vsctl", "--timeout=5", "--db=unix:"+h.Run+"/ovs/db.sock", "--bare", "--columns=name,error", "find", "Interface", `external_ids:ovn-installed="true"`)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: ovs-vsctl: %v: %s", h.Name, err, rows))
		}
		ports += len(interfaces.FindAllString(rows, -1))
		folders, _ := os.ReadDir(filepath.Join(h.State, "vm"))
		if len(folders) != p {
			wrong = append(wrong, fmt.Sprintf("on %s are %d folders of %d guests", h.Name, len(folders), p))
		}
	}
	if processes != running || taps != running || ports != running {
		wrong = append(wrong, fmt.Sprintf("there are %d QEMU processes, %d taps, %d interfaces that work; it should be %d", processes, taps, ports, running))
	}
	rows, err := w.h.Exec("ovn-nbctl", "--timeout=5", "--db=unix:"+w.h.Run+"/ovn/nb.sock", "--bare", "--columns=name", "find", "Logical_Switch_Port", `type=""`)
	if err != nil || len(strings.Fields(rows)) != running { // a port that no host has needs no row
		wrong = append(wrong, fmt.Sprintf("the network has the ports %v of guests, %v; it should be %d", strings.Fields(rows), err, running))
	}
	if folders, _ := os.ReadDir(filepath.Join(w.dir, "shared", "volumes")); len(folders) != len(w.vms) {
		wrong = append(wrong, fmt.Sprintf("there are %d folders of volumes; it should be %d", len(folders), len(w.vms)))
	}
	return wrong
}

// leftOver lists files that belong to nothing.
func (w *walk) leftOver() (wrong []string) {
	wrong = w.astray()
	places := []string{filepath.Join(w.dir, "shared", ".partial")}
	logged := map[string]bool{}
	for _, h := range w.Hosts {
		places = append(places, filepath.Join(h.State, "datastore", ".partial"), filepath.Join(h.State, "images", "staging"), filepath.Join(h.State, "datastore", "volumes"))
		logs, _ := filepath.Glob(filepath.Join(h.State, "serial", "*.log"))
		for _, log := range logs { // of the latest run, and of the one before it
			id, _, _ := strings.Cut(filepath.Base(log), ".")
			logged[id] = true
		}
		for _, line := range describe(pids(h.NS)) {
			if strings.Contains(line, "qemu-img") {
				wrong = append(wrong, fmt.Sprintf("on %s runs %s", h.Name, line))
			}
		}
	}
	for _, place := range places {
		if left, _ := os.ReadDir(place); len(left) > 0 {
			wrong = append(wrong, fmt.Sprintf("in %s lie %v", place, left))
		}
	}
	if stored, _ := filepath.Glob(filepath.Join(w.h.State, "images", "sha256-*")); len(stored) != 1 {
		wrong = append(wrong, fmt.Sprintf("all images have the same content, and there are the files %v", stored))
	}
	vms, err := read[vmSeen](w.h, "vm")
	if err != nil {
		return append(wrong, err.Error())
	}
	for _, vm := range vms {
		if !logged[vm.ID] {
			wrong = append(wrong, fmt.Sprintf("VM %s has no serial log", vm.Name))
		}
		delete(logged, vm.ID)
	}
	for id := range logged {
		wrong = append(wrong, fmt.Sprintf("there is a serial log of VM %s, which was deleted", id))
	}
	tasks, err := read[struct {
		ID       string
		Deleting *time.Time
		Holders  []string
	}](w.h, "task")
	if err != nil {
		return append(wrong, err.Error())
	}
	for _, t := range tasks {
		if t.Deleting != nil {
			wrong = append(wrong, fmt.Sprintf("task %s is being deleted since %v, held by %v", t.ID, t.Deleting, t.Holders))
		}
	}
	return wrong
}
