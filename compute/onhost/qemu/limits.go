package qemu

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxOpenFiles = 8192     // of one QEMU process
	stderrSize   = 1 << 20  // bytes of QEMU's own words before the older half goes
	lastSize     = 16 << 10 // bytes of them in which the last lines are looked for
)

// limited is a command line that bounds what a program may take, and becomes it: whoever lowers its own
// limits needs no right, and they hold from the first instruction. A core would hold the guest's memory.
func limited(program string, args []string) []string {
	const script = `ulimit -c 0; ulimit -n "$0" 2>/dev/null; exec "$@"`
	return append([]string{"/bin/sh", "-c", script, strconv.Itoa(maxOpenFiles), program}, args...)
}

// keepInherited keeps from QEMU processes what this daemon has open by inheritance: whoever started it may
// have left anything open. Go has marked all else.
func keepInherited() {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// trimFile takes the older part of a log away when it is larger than most, and leaves half of that.
// What is written between the two calls is lost. It returns how many bytes went.
func trimFile(path string, most int64) int64 {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	size := sizeOf(f)
	if size < most {
		return 0
	}
	keep := make([]byte, most/2)
	if _, err := f.ReadAt(keep, size-int64(len(keep))); err != nil || f.Truncate(0) != nil {
		return 0
	}
	n, _ := f.Write(keep)
	return size - int64(n)
}

// lastWords are the last lines that QEMU wrote on its error output.
func lastWords(dir string) string {
	f, err := os.Open(filepath.Join(dir, stderrFile))
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	data, _ := io.ReadAll(io.NewSectionReader(f, max(0, sizeOf(f)-lastSize), lastSize))
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i := range lines {
		lines[i] = plainWords(lines[i])
	}
	text := strings.Join(lines[max(0, len(lines)-5):], "; ")
	return text[max(0, len(text)-1000):]
}
