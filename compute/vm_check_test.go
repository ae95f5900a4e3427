package compute

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
)

// The commit would refuse it too, since a volume has one user; it could not say which disk has it.
func TestAVolumeOrAPortIsOneDeviceOfAVM(t *testing.T) {
	spec := VMSpec{CPUs: 1, MemoryMiB: 128,
		Disks: []Disk{{Name: "disk0", VolumeID: "v1"}, {Name: "disk1", VolumeID: "v2"}},
		NICs:  []NIC{{Name: "nic0", PortID: "p1"}, {Name: "nic1", PortID: "p2"}}}
	DefaultVM(&spec)
	if wrong := CheckVM(&spec); len(wrong) != 0 {
		t.Fatalf("two volumes and two ports are refused: %v", wrong)
	}
	for _, c := range []struct {
		change      func(id resource.ID)
		id          resource.ID
		field, says string
	}{
		{func(id resource.ID) { spec.Disks[1].VolumeID = id }, "v1", "spec.disks[1].volumeID", "as disk0"},
		{func(id resource.ID) { spec.NICs[1].PortID = id }, "p1", "spec.nics[1].portID", "as nic0"},
	} {
		c.change(c.id)
		wrong := CheckVM(&spec)
		if len(wrong) != 1 || wrong[0].Field != c.field || !strings.Contains(wrong[0].Message, c.says) {
			t.Errorf("%s twice: %v, want %s with %q", c.id, wrong, c.field, c.says)
		}
		c.change("other")
	}
}
