package debian

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
		t.Skip("this machine cannot build: ", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	mounts, _ := os.ReadFile("/proc/mounts")
	if strings.Contains(string(mounts), dir) {
		t.Error("it is still mounted")
	}
}
