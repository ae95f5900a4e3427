package bench

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// Host is what the figures were measured on.
type Host struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	MemoryMiB  int64  `json:"memoryMiB"`
	Kernel     string `json:"kernel"`
	QEMU       string `json:"qemu"`
	Switch     string `json:"switch"`
	Go         string `json:"go"`
	Load       string `json:"load"` // the averages when the run began: others make noise
}

// ThisHost reads the facts; what cannot be read is empty.
func ThisHost() Host {
	return Host{
		Processor: field("/proc/cpuinfo", "model name"), Processors: runtime.NumCPU(), MemoryMiB: kibibytes("/proc/meminfo", "MemTotal") >> 10,
		Kernel: output("uname", "-r"), QEMU: firstLine(output("qemu-system-x86_64", "--version")), Switch: firstLine(output("ovs-vswitchd", "--version")),
		Go: runtime.Version(), Load: firstLine(read("/proc/loadavg")),
	}
}

// Commit names what was measured.
func Commit() string { return output("git", "describe", "--tags", "--always", "--dirty") }

func output(program string, args ...string) string {
	out, _ := exec.Command(program, args...).Output()
	return strings.TrimSpace(string(out))
}

func read(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// field reads a line "name: value".
func field(path, name string) string {
	for line := range strings.Lines(read(path)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func kibibytes(path, name string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(field(path, name), " kB"), 10, 64)
	return n
}
