package lab

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Clock is the wall clock of one running daemon. The host has one for all, and its kernel moves
// only others apart for a namespace (the monotonic ones). A program reads the time by code that the
// kernel puts into its memory (the vDSO): there, in this one process, the reading of the wall clock
// gets a number of seconds added. The binary and all else that it asks of the kernel are untouched.
type Clock struct {
	t      testing.TB
	memory *os.File
	offset int64 // where the seconds lie
}

// Asks the kernel for the time; a wall clock (number 0) that was read gets the seconds behind the
// code added.
var reading = []byte{
	0x57,                // push rdi
	0x56,                // push rsi
	0xb8, 0xe4, 0, 0, 0, // mov eax, clock_gettime
	0x0f, 0x05, // syscall
	0x5e,                 // pop rsi
	0x5f,                 // pop rdi
	0x85, 0xc0, 0x75, 14, // test eax, eax; jnz out
	0x85, 0xff, 0x75, 10, // test edi, edi; jnz out
	0x48, 0x8b, 0x15, 6, 0, 0, 0, // mov rdx, [seconds]
	0x48, 0x01, 0x16, // add [rsi], rdx
	0xc3, 0, 0, // out: ret
	0, 0, 0, 0, 0, 0, 0, 0, // seconds
}

// Clock takes hold of the wall clock of the host's daemon, until that ends.
func (h *Host) Clock() *Clock {
	t := h.cloud.t
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the clock of a process is moved by code for amd64")
	}
	pid := h.PID()
	begin, code := vdso(t, pid)
	file, err := elf.NewFile(bytes.NewReader(code))
	if err != nil {
		t.Fatal(err)
	}
	symbols, _ := file.DynamicSymbols()
	var entry int64
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			entry = int64(s.Value)
		}
	}
	place := (int64(len(bytes.TrimRight(code, "\x00"))) + 63) &^ 63
	if entry == 0 || place+int64(len(reading)) > int64(len(code)) {
		t.Skip("this kernel's vDSO is another than is known here")
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { memory.Close() })
	c := &Clock{t: t, memory: memory, offset: begin + place + int64(len(reading)) - 8}
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(place-entry-5))
	stopped(t, pid, func() {
		if _, err := memory.WriteAt(reading, begin+place); err != nil {
			t.Skipf("this kernel does not let the vDSO be changed: %v", err)
		}
		if _, err := memory.WriteAt(jump, begin+entry); err != nil {
			t.Fatal(err)
		}
	})
	return c
}

// Set moves the clock this far from the host's.
func (c *Clock) Set(d time.Duration) {
	c.t.Helper()
	if _, err := c.memory.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(d/time.Second)), c.offset); err != nil {
		c.t.Fatal(err)
	}
}

// vdso reads that part of a process, and says where it begins.
func vdso(t testing.TB, pid int) (begin int64, code []byte) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		var end int64
		if _, err := fmt.Sscanf(line, "%x-%x", &begin, &end); err != nil {
			t.Fatal(err)
		}
		memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
		if err != nil {
			t.Fatal(err)
		}
		defer memory.Close()
		code = make([]byte, end-begin)
		if _, err := io.ReadFull(io.NewSectionReader(memory, begin, end-begin), code); err != nil {
			t.Fatal(err)
		}
		return begin, code
	}
	t.Skip("this kernel has no vDSO")
	return 0, nil
}

// stopped does something while a process stands still.
func stopped(t testing.TB, pid int, do func()) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if bytes.Contains(stat, []byte(") T ")) {
			break
		}
	}
	do()
}
