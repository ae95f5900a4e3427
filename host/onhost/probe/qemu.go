package probe

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

// The oldest QEMU that the rest is written for and tested with.
const floorMajor, floorMinor = 7, 2

const installQEMU = "install QEMU %d.%d or newer (Debian: the package qemu-system-x86)"

// QEMU is what a QEMU binary says of itself.
type QEMU struct {
	Version     string // "7.2.22"
	MachineType string // the newest q35: "pc-q35-7.2"
}

// AskQEMU runs a QEMU binary and reads its version and machine types.
func AskQEMU(ctx context.Context, binary string) (QEMU, error) {
	version, err := ask(ctx, binary, "--version")
	if err != nil {
		return QEMU{}, err
	}
	e := QEMU{Version: parseVersion(version)}
	if err := e.check(binary); err != nil {
		return QEMU{}, err
	}
	offered, err := ask(ctx, binary, "-machine", "help")
	if err != nil {
		return QEMU{}, err
	}
	if e.MachineType = newestQ35(offered); e.MachineType == "" {
		return QEMU{}, fault.New(fault.Precondition, "%s offers no q35 machine; "+installQEMU, binary, floorMajor, floorMinor)
	}
	return e, nil
}

func ask(ctx context.Context, binary string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).Output()
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.Precondition, "look for QEMU: %s is not on this host; "+installQEMU, binary, floorMajor, floorMinor)
	}
	if err != nil {
		return "", fault.New(fault.Precondition, "run %s %s: %w; "+installQEMU, binary, strings.Join(args, " "), err, floorMajor, floorMinor)
	}
	return string(out), nil
}

func (e QEMU) check(binary string) error {
	major, minor := numbers(e.Version)
	if e.Version == "" {
		return fault.New(fault.Precondition, "QEMU %s does not say its version; "+installQEMU, binary, floorMajor, floorMinor)
	}
	if major < floorMajor || major == floorMajor && minor < floorMinor {
		return fault.New(fault.Precondition, "QEMU %s is version %s; "+installQEMU, binary, e.Version, floorMajor, floorMinor)
	}
	return nil
}

var (
	versionText = regexp.MustCompile(`version (\d+\.\d+(?:\.\d+)?)`)
	q35Text     = regexp.MustCompile(`(?m)^pc-q35-(\d+\.\d+(?:\.\d+)?) `)
)

func parseVersion(text string) string {
	if m := versionText.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

func newestQ35(text string) string {
	best := ""
	for _, m := range q35Text.FindAllStringSubmatch(text, -1) {
		if best == "" || older(best, m[1]) {
			best = m[1]
		}
	}
	if best == "" {
		return ""
	}
	return "pc-q35-" + best
}

func older(a, b string) bool {
	amajor, aminor := numbers(a)
	bmajor, bminor := numbers(b)
	return amajor < bmajor || amajor == bmajor && aminor < bminor
}

func numbers(version string) (major, minor int) {
	parts := strings.Split(version, ".")
	major, _ = strconv.Atoi(parts[0])
	if len(parts) > 1 {
		minor, _ = strconv.Atoi(parts[1])
	}
	return major, minor
}
