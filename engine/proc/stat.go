// Package proc reads what the kernel tells of one process. A number alone does not name a process for long;
// a number together with when that process began does.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Stat is what /proc/PID/stat says, as far as anybody here asks.
type Stat struct {
	// State is the kernel's letter: R runs, S sleeps, Z has ended and was not waited for.
	State byte
	// Group is its process group.
	Group int
	// Began is when it began, in hundredths of a second since the start of the kernel.
	Began uint64
}

// Ended reports whether only the name of the process is left.
func (s Stat) Ended() bool { return s.State == 'Z' || s.State == 'X' }

// Look reads it; an error that is fs.ErrNotExist says that there is no such process.
func Look(pid int) (Stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, err
	}
	s, ok := parse(data)
	if !ok {
		return Stat{}, fmt.Errorf("/proc/%d/stat has an unknown form", pid)
	}
	return s, nil
}

// parse takes the fields from the third on: the second is the program's name in brackets, which may itself
// hold blanks and brackets.
func parse(data []byte) (Stat, bool) {
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return Stat{}, false
	}
	group, err := strconv.Atoi(fields[2])
	began, failed := strconv.ParseUint(fields[19], 10, 64)
	return Stat{State: fields[0][0], Group: group, Began: began}, err == nil && failed == nil
}
