package qemu

import (
	"testing"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/storage"
)

func TestSpaceThatWasSetAsideIsNotGivenBack(t *testing.T) {
	for format, want := range map[string]string{"qcow2": "unmap", "raw": "ignore"} {
		b := diskBackend(onhost.Disk{ID: "d", Source: storage.InFile("/d", format)}, true, "threads")
		if file := b["file"].(map[string]any); b["discard"] != want || file["discard"] != want {
			t.Errorf("%s: discard is %v, of its file %v; want %s", format, b["discard"], file["discard"], want)
		}
	}
}
