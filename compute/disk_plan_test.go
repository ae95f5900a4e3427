package compute

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
)

func twoDisks() *Image {
	i := &Image{}
	i.Name = "two"
	i.Status = ImageStatus{Digest: "sha256:boot", VirtualMiB: 10, DataDisks: []ImageDisk{{Content: "sha256:data", VirtualMiB: 20}}}
	return i
}

func TestNewVMHasEveryDiskOfItsImageAndEveryDiskAskedFor(t *testing.T) {
	for _, c := range []struct {
		asked []Disk
		want  string
	}{
		{[]Disk{{}}, "boot:10 data:20"},
		{[]Disk{{SizeMiB: 15}}, "boot:15 data:20"},
		{[]Disk{{SizeMiB: 15}, {SizeMiB: 25}, {SizeMiB: 5}}, "boot:15 data:25 5"},
		{[]Disk{{VolumeID: "v"}}, "boot:10 data:20 v"},
		{[]Disk{{VolumeID: "v"}, {SizeMiB: 11}, {VolumeID: "w"}}, "boot:11 data:20 v w"},
		{[]Disk{{SizeMiB: 5}}, "needs at least 10"},
		{[]Disk{{}, {SizeMiB: 19}}, "needs at least 20"},
	} {
		planned, err := planDisks(c.asked, twoDisks(), VirtioBlk)
		got := saidDisks(planned)
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != c.want || err != nil && !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s, want %s", c.asked, got, c.want)
		}
	}
}

func saidDisks(planned []plannedDisk) string {
	var out []string
	for _, p := range planned {
		text := string(p.VolumeID)
		if p.base != nil {
			text = strings.TrimPrefix(p.base.Digest, "sha256:") + ":"
		}
		if p.SizeMiB > 0 {
			text += fmt.Sprint(p.SizeMiB)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestPlannedDisksLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Disk {
			if rapid.Bool().Draw(t, "volume") {
				return Disk{VolumeID: resource.ID(rapid.StringMatching("[a-z]{3}").Draw(t, "name"))}
			}
			return Disk{SizeMiB: rapid.Int64Range(20, 99).Draw(t, "size")}
		}), 0, 8).Draw(t, "asked")
		planned, err := planDisks(asked, twoDisks(), VirtioBlk)
		if err != nil {
			t.Fatal(err)
		}
		if planned[0].base == nil || planned[1].base == nil {
			t.Fatal("a disk of the image is not there")
		}
		for _, d := range asked {
			if !slices.ContainsFunc(planned, func(p plannedDisk) bool { return p.VolumeID == d.VolumeID && p.SizeMiB == d.SizeMiB }) {
				t.Fatalf("%+v is lost in %s", d, saidDisks(planned))
			}
		}
	})
}
