package qcow2

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const mib = 1 << 20

func need(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
}

func TestALinkedCloneIsThinAndGrows(t *testing.T) {
	need(t)
	ctx, dir := t.Context(), t.TempDir()
	base, clone := filepath.Join(dir, "base"), filepath.Join(dir, "clone")
	var tool Tool
	must(t, tool.Create(ctx, base, 64*mib, nil))
	must(t, tool.Create(ctx, clone, 128*mib, &File{base, QCOW2}))
	must(t, tool.Resize(ctx, File{clone, QCOW2}, 256*mib))
	info, err := tool.Info(ctx, File{clone, QCOW2})
	must(t, err)
	if info.VirtualSize != 256*mib || info.Backing != base || info.BackingType != QCOW2 || info.ClusterSize != 128<<10 || info.ActualSize > 2*mib {
		t.Fatalf("unexpected: %+v", info)
	}
	end, err := tool.Check(ctx, File{clone, QCOW2})
	must(t, err)
	if end < 128<<10 || end > mib {
		t.Fatalf("the content ends at %d", end)
	}
	if err := tool.Resize(ctx, File{clone, QCOW2}, mib); err == nil {
		t.Fatal("shrinking was allowed")
	}
}

func TestConvertTellsItsProgress(t *testing.T) {
	need(t)
	dir := t.TempDir()
	raw, out := filepath.Join(dir, "raw"), filepath.Join(dir, "out")
	must(t, os.WriteFile(raw, []byte(strings.Repeat("x", 8*mib)), 0o644))
	for _, as := range []*User{nil, {65534, 65534}} {
		var told []int
		tool := Tool{As: as, MemoryMiB: 2048, CPUSeconds: 60}
		must(t, tool.Convert(t.Context(), File{raw, Raw}, out, func(p int) { told = append(told, p) }))
		if len(told) < 2 || told[len(told)-1] != 100 {
			t.Fatalf("told %v", told)
		}
		required, most, err := tool.Measure(t.Context(), File{raw, Raw})
		must(t, err)
		if required < 8*mib || most < required {
			t.Fatalf("measured %d, %d", required, most)
		}
	}
}

func TestAFileThatIsNotWhatItIsCalledIsRefused(t *testing.T) {
	need(t)
	file := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(file, make([]byte, mib), 0o644))
	_, err := Tool{}.Info(t.Context(), File{file, QCOW2})
	if err == nil || !strings.Contains(err.Error(), "not in qcow2 format") {
		t.Fatalf("error is %v", err)
	}
	if _, err := (Tool{}).Info(t.Context(), File{"json:{}", Raw}); err == nil || !strings.Contains(err.Error(), "not absolute") {
		t.Fatalf("error is %v", err)
	}
}

func TestACallDiesWithItsContextAndSoDoesWhatItStarted(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "slow")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\nsleep 600 &\necho $! > "+dir+"/pid\nwait\n"), 0o755))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for i := 0; i < 500; i++ {
			if data, _ := os.ReadFile(dir + "/pid"); len(data) > 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	err := Tool{Binary: script}.Create(ctx, filepath.Join(dir, "x"), mib, nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	data, _ := os.ReadFile(dir + "/pid")
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	must(t, err)
	for i := 0; i < 200 && syscall.Kill(pid, 0) == nil && !zombie(pid); i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if syscall.Kill(pid, 0) == nil && !zombie(pid) {
		t.Fatal("the child's child still runs")
	}
}

func TestAFullDiskIsSaidInWords(t *testing.T) {
	script := filepath.Join(t.TempDir(), "full")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho 'qemu-img: error while writing: No space left on device' >&2\nexit 1\n"), 0o755))
	err := Tool{Binary: script}.Create(t.Context(), "/nowhere", mib, nil)
	var e *Error
	if !errors.As(err, &e) || !e.NoSpace || e.Error() != "create /nowhere: no space is left where it lies" {
		t.Fatalf("error is %v", err)
	}
}

func zombie(pid int) bool {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return strings.Contains(string(data), ") Z ")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLimitsHoldFromTheFirstInstruction(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "tool")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\n(ulimit -c; ulimit -v; ulimit -t) > "+dir+"/limits\n"), 0o755))
	must(t, Tool{Binary: script, MemoryMiB: 2048, CPUSeconds: 60}.Resize(t.Context(), File{filepath.Join(dir, "x"), QCOW2}, mib))
	got, err := os.ReadFile(dir + "/limits")
	must(t, err)
	if want := "0\n2097152\n60\n"; string(got) != want {
		t.Fatalf("%q", got)
	}
}
