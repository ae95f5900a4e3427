package probe

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/host"
)

// The ROM brings a processor from 16-bit through 32-bit to paged 64-bit mode, runs 40 million
// instructions and leaves by the debug-exit port. A short ROM would not do: there are hosts
// whose /dev/kvm opens and runs a few thousand instructions by interpreting them one by one, so
// slowly that no kernel ever boots.
const (
	romSize = 64 << 10
	romCode = "fab031e6e9b800f08ed8660f0116e0f00f20c00c010f22c066ea20f00f00080066b810008ed88ec08ed0b032e6e9bf0010000031c0b9000c0000" +
		"fcf3abc7050010000003200000c7050020000003300000bf00300000b883000000b9000200008907050000200083c708e2f40f20e083c8200f22e0b8" +
		"001000000f22d8b9800000c00f320d000100000f300f20c00d000000800f22c0b033e6e9eaa1f00f001800b034e6e9b9002d310148ffc975fb66baf4" +
		"00b010eef4ebfd909090909090900000000000000000ffff0000009bcf00ffff00000093cf00ffff0000009baf001f00c0f00f"
	romCodeAt    = 0xf000
	romReset     = "ea00f000f0" // far jump to the code, where a processor begins
	romResetAt   = 0xfff0
	romExit      = 0x10<<1 | 1 // QEMU's exit status for 0x10 written to the port
	kvmLimit     = 2 * time.Second
	tcgLimit     = 30 * time.Second // 0.15 s on an idle host; a busy one must not be called unable
	fastEnough   = time.Second
	instructions = "40 million instructions"
)

func rom() []byte {
	out := make([]byte, romSize)
	for at, text := range map[int]string{romCodeAt: romCode, romResetAt: romReset} {
		code, err := hex.DecodeString(text)
		if err != nil {
			panic("probe: the ROM is no hex: " + err.Error())
		}
		copy(out[at:], code)
	}
	return out
}

// outcome is how one run of the ROM went.
type outcome struct {
	took time.Duration
	late bool  // it was ended because the time was up
	err  error // it could not be started, or did not end as it should
}

func (o outcome) good() bool { return o.err == nil && !o.late && o.took < fastEnough }

// runROM runs the ROM with an accelerator and processor model in a QEMU process.
func runROM(ctx context.Context, limit time.Duration, binary, romFile, accelerator, cpu string) outcome {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// a QEMU process that aborts must leave no core file of its guest's memory behind
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `ulimit -c 0; exec "$@"`, "probe", binary,
		"-accel", accelerator, "-cpu", cpu, "-M", "q35", "-m", "16", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot", "-bios", romFile, "-device", "isa-debug-exit,iobase=0xf4,iosize=1")
	// if we die now, QEMU dies too. The kernel means the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := time.Now()
	err := cmd.Run()
	o := outcome{took: time.Since(start), late: errors.Is(ctx.Err(), context.DeadlineExceeded)}
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != romExit {
		o.err = errors.New("it ended without finishing")
		if err != nil {
			o.err = err
		}
	}
	return o
}

// Accelerate finds out how guests can be run here, and says in words how it knows.
func Accelerate(ctx context.Context, binary, kvm string) (host.Accelerator, string, error) {
	folder, err := os.MkdirTemp("", "virga-probe-")
	if err != nil {
		return "", "", fault.New(fault.Internal, "make a folder for the probe: %w", err)
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "probe.rom")
	if err := os.WriteFile(file, rom(), 0o600); err != nil {
		return "", "", fault.New(fault.Internal, "write the probe: %w", err)
	}
	why, opens := opensKVM(kvm)
	if opens {
		o := runROM(ctx, kvmLimit, binary, file, "kvm", "host")
		if o.good() {
			return host.KVM, fmt.Sprintf("a guest of %s ran in %d ms with %s", instructions, o.took.Milliseconds(), kvm), nil
		}
		why = whyNotKVM(kvm, o)
	}
	if err := ctx.Err(); err != nil {
		return "", "", fault.Wrap(err, "probe the accelerator")
	}
	o := runROM(ctx, tcgLimit, binary, file, "tcg", "max")
	if o.err != nil {
		return "", "", fault.New(fault.Precondition, "run a guest of %s in software with %s: %w; %s", instructions, binary, o.err, why)
	}
	return host.TCG, why, nil
}

func opensKVM(kvm string) (why string, ok bool) {
	f, err := os.OpenFile(kvm, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "there is no " + kvm, false
	case err != nil:
		return fmt.Sprintf("%s does not open: %v", kvm, errors.Unwrap(err)), false
	}
	f.Close()
	return "", true
}

func whyNotKVM(kvm string, o outcome) string {
	switch {
	case o.late:
		return fmt.Sprintf("%s opens, but a guest of %s did not end in %d s: it would be slower than software", kvm, instructions, kvmLimit/time.Second)
	case o.err != nil:
		return fmt.Sprintf("%s opens, but QEMU did not get through a guest of %s with it (%v after %d ms)", kvm, instructions, o.err, o.took.Milliseconds())
	default:
		return fmt.Sprintf("%s opens, but a guest of %s took %d ms: it would be slower than software", kvm, instructions, o.took.Milliseconds())
	}
}
