package compute

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func twoDisks() *Image {
	i := &Image{}
	i.Name = "two"
	i.Status = ImageStatus{Digest: "sha256:boot", VirtualMiB: 10, DataDisks: []ImageDisk{{Content: "sha256:data", VirtualMiB: 20}}}
	return i
}

func TestNewVMHasEveryDiskOfItsImageAndEveryDiskAskedFor(t *testing.T) {
	for _, c := range []struct {
		asked []DiskInput
		want  string
	}{
		{[]DiskInput{{}}, "boot:10 data:20"},
		{[]DiskInput{{SizeMiB: 15}}, "boot:15 data:20"},
		{[]DiskInput{{SizeMiB: 15}, {SizeMiB: 25}, {SizeMiB: 5}}, "boot:15 data:25 5"},
		{[]DiskInput{{Volume: "v"}}, "boot:10 data:20 v"},
		{[]DiskInput{{Volume: "v"}, {SizeMiB: 11}, {Volume: "w"}}, "boot:11 data:20 v w"},
		{[]DiskInput{{SizeMiB: 5}}, "needs at least 10"},
		{[]DiskInput{{}, {SizeMiB: 19}}, "needs at least 20"},
	} {
		planned, err := planDisks(c.asked, twoDisks())
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
		text := p.Volume
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
		asked := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) DiskInput {
			if rapid.Bool().Draw(t, "volume") {
				return DiskInput{Volume: rapid.StringMatching("[a-z]{3}").Draw(t, "name")}
			}
			return DiskInput{SizeMiB: rapid.Int64Range(20, 99).Draw(t, "size")}
		}), 0, 8).Draw(t, "asked")
		planned, err := planDisks(asked, twoDisks())
		if err != nil {
			t.Fatal(err)
		}
		if planned[0].base == nil || planned[1].base == nil {
			t.Fatal("a disk of the image is not there")
		}
		for _, d := range asked {
			if !slices.ContainsFunc(planned, func(p plannedDisk) bool { return p.DiskInput == d }) {
				t.Fatalf("%+v is lost in %s", d, saidDisks(planned))
			}
		}
	})
}
