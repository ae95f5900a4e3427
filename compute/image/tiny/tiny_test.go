package tiny

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute/image/boottest"
	"github.com/virga-cloud/virga/engine/fault"
)

// built builds the image, of packages that are kept from one run to the next.
func built(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("VIRGA_IMAGE_CACHE")
	if cache == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			home = t.TempDir()
		}
		cache = filepath.Join(home, "virga-images")
	}
	out := filepath.Join(t.TempDir(), "tiny.qcow2")
	err := Build(t.Context(), out, Options{Cache: cache, Tell: func(s string) { t.Log(s) }})
	if fault.Is(err, fault.Precondition) || fault.Is(err, fault.Unavailable) {
		t.Skip("this host cannot build: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := Build(t.Context(), out, Options{Cache: cache}); err != nil || time.Since(begun) > time.Second {
		t.Errorf("the second build took %s: %v", time.Since(begun), err)
	}
	return out
}

func TestTheTinyGuestComesUpTakesItsSeedAndObeysThePowerButton(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a guest")
	}
	seed := boottest.Seed(t, "instance-id: i-1\nlocal-hostname: web-1\n", "#!/bin/bash\necho said-by-user-data-on $(hostname)\n")
	image := built(t)
	begun := time.Now()
	g := boottest.Start(t, image, 128, seed)
	if said := g.Expect("VIRGA-READY ", 90*time.Second); said != "web-1 10.0.2.15" {
		t.Errorf("the guest is ready as %q", said)
	}
	t.Log("up after", time.Since(begun))
	g.Expect("said-by-user-data-on web-1", 10*time.Second)
	g.Type("mount | grep -c ' /data type ext4'; ls -d /data/.user-data; echo the'-end'")
	g.Expect("\n1", 10*time.Second)
	g.Expect("the-end", 10*time.Second)
	t.Log("off after", g.PowerButton(20*time.Second))
}

func TestTheKeyOfAnImageNamesEverythingThatGoesIn(t *testing.T) {
	a, b := parts{"/x/linux_1.deb", "/nowhere/busybox"}, parts{"/x/linux_2.deb", "/nowhere/busybox"}
	if a.key() == b.key() || a.key() != (parts{"/y/linux_1.deb", "/nowhere/busybox"}).key() {
		t.Errorf("keys %s, %s", a.key(), b.key())
	}
}

func TestModulesAreLoadedAfterWhatTheyNeed(t *testing.T) {
	dep, alias := tables([]module{{name: "virtio"}, {name: "virtio_ring"}, {name: "virtio_pci", depends: []string{"virtio", "virtio-ring"}, aliases: []string{"pci:v00001AF4d*"}}})
	if !strings.Contains(dep, "virtio_pci.ko: virtio.ko virtio_ring.ko\n") || alias != "alias pci:v00001AF4d* virtio_pci\n" {
		t.Errorf("tables are %q, %q", dep, alias)
	}
}
