package probe

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/host"
)

func TestFeaturesOfTheProcessorAreReadFromQEMU(t *testing.T) {
	vendor, features, err := readCPU([]byte(`{"QMP":{}}
{"return":{}}
{"event":"X"}
{"id":"cpu","return":{"model":{"name":"max","props":{"vendor":"GenuineIntel","avx2":true,"avx":false,"sse4_1":true,"sse4.1":true,"sse4-1":true,"check":true,"x-y":true,"level":13,"a b":true}}}}
{"return":{}}
`))
	if err != nil || vendor != "GenuineIntel" || features != "avx2 sse4-1" {
		t.Errorf("%q, %q, %v", vendor, features, err)
	}
	for _, bad := range []string{"", "nonsense\n", `{"id":"cpu","error":{"class":"x"}}`, `{"id":"cpu","return":{"model":{}}}`} {
		if _, _, err := readCPU([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestFeaturesOfARealQEMU(t *testing.T) {
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("no QEMU here")
	}
	vendor, features, err := AskCPU(t.Context(), binary, host.TCG)
	all := strings.Fields(features)
	if err != nil || vendor == "" || !slices.Contains(all, "sse2") || slices.Contains(all, "check") || !slices.IsSorted(all) {
		t.Errorf("%q, %q, %v", vendor, features, err)
	}
}
