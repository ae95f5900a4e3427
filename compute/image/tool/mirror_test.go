package tool

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/compute/image/boottest"
	"github.com/virga-cloud/virga/engine/fault"
)

func TestAPackageThatCannotBeFetchedSaysWhichMirrorAndWhatToDo(t *testing.T) {
	for _, program := range []string{"apt-get", "apt-cache"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	mirror, _ := mirrors("/etc/apt")
	folder := t.TempDir()
	var said []string
	var err error
	boottest.Apart(t, func() {
		_, err = Apt{Folder: folder, Tell: func(line string) { said = append(said, line) }}.Package(t.Context(), "busybox-static")
	})
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "the package mirror "+mirror) || !strings.Contains(err.Error(), "sources.list") {
		t.Errorf("got %v", err)
	}
	if !slices.ContainsFunc(said, func(line string) bool { return strings.HasPrefix(line, "Err:") }) {
		t.Errorf("told only %q", said)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, "*", "*", "*.deb")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

func TestTheFirstMirrorThatRefusesIsNamed(t *testing.T) {
	var r refusal
	for line := range strings.Lines(`Ign:1 http://192.0.2.1/debian bookworm InRelease
Get:2 http://192.0.2.2/debian bookworm InRelease [151 kB]
Err:1 http://192.0.2.1/debian bookworm InRelease
  Could not connect to 192.0.2.1:80 (192.0.2.1), connection timed out
Err:3 http://192.0.2.3/debian-security bookworm-security InRelease
  Unable to connect to 192.0.2.3:http:
`) {
		r.read(strings.TrimRight(line, "\n"))
	}
	if want := (refusal{"http://192.0.2.1/debian", "Could not connect to 192.0.2.1:80 (192.0.2.1), connection timed out"}); r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

func TestAptTakesTheSettings(t *testing.T) {
	if _, err := exec.LookPath("apt-config"); err != nil {
		t.Skip(err)
	}
	out, err := Run(t.Context(), "apt-config", append([]string{"dump"}, impatience()...)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range Impatience {
		if !strings.Contains(out, setting) {
			t.Errorf("apt does not know %s", setting)
		}
	}
}
