package debian

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute/image/boottest"
	"github.com/virga-cloud/virga/engine/fault"
)

// TestDebianIsBuilt takes two minutes and the network; the slow lab asks for it.
func TestDebianIsBuilt(t *testing.T) {
	out := os.Getenv("VIRGA_BUILD_DEBIAN")
	if out == "" {
		t.Skip("set VIRGA_BUILD_DEBIAN to a file to build the Debian image")
	}
	begun := time.Now()
	if err := Build(t.Context(), out, Options{Tell: func(s string) { t.Logf("%4.0fs %s", time.Since(begun).Seconds(), s) }}); err != nil {
		t.Fatal(err)
	}
}

func TestACancelledBuildLeavesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	err := Build(ctx, filepath.Join(dir, "out"), Options{SizeMiB: 64, Tell: func(words string) {
		if strings.HasPrefix(words, "fetch") {
			cancel()
		}
	}})
	if err == nil {
		t.Fatal("it was not cancelled")
	}
	if !strings.Contains(err.Error(), "context canceled") {
		t.Skip("this host cannot build: ", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	mounts, _ := os.ReadFile("/proc/mounts")
	if strings.Contains(string(mounts), dir) {
		t.Error("it is still mounted")
	}
}

func TestABuildWithoutAMirrorEndsSoonAndSaysWhich(t *testing.T) {
	dir := t.TempDir()
	var err error
	boottest.Apart(t, func() { err = Build(t.Context(), filepath.Join(dir, "out"), Options{SizeMiB: 64}) })
	if err == nil {
		t.Fatal("it was built of nothing")
	}
	if !strings.Contains(err.Error(), "fetch and install") {
		t.Skip("this host cannot build: ", err)
	}
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "the package mirror http") || !strings.Contains(err.Error(), "sources.list") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestDebianTakesItsSeed takes one to two minutes where instructions are translated in software.
func TestDebianTakesItsSeed(t *testing.T) {
	image := os.Getenv("VIRGA_BOOT_DEBIAN")
	if image == "" {
		t.Skip("set VIRGA_BOOT_DEBIAN to a built image to boot it")
	}
	seed := boottest.Seed(t, "instance-id: i-1\nlocal-hostname: web-1\n",
		"#cloud-config\nruncmd:\n - echo \"said by $(hostname) of $(df -m / | awk 'NR==2{print $2}') MiB\" > /dev/ttyS0\n")
	begun := time.Now()
	g := boottest.Start(t, image, 512, seed)
	g.Expect("web-1 login:", 4*time.Minute)
	t.Log("login after", time.Since(begun))
	t.Log("it said", g.Expect("said by web-1", 4*time.Minute))
	t.Log("cloud-init done after", time.Since(begun))
	t.Log("off after", g.PowerButton(60*time.Second))
}
