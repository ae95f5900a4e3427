package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/lab"
)

const (
	dataMiB  = 128
	passes   = 6 // over all of it: the guest's clock counts hundredths
	readers  = 32
	perBlock = dataMiB * 16 / readers // 64 KiB blocks that each reader takes
	singles  = 4000                   // blocks of 4 KiB that a lone reader takes
)

// disks compares the I/O profiles inside guests that differ in nothing else: many large requests under way, and
// small ones one after the other. The readers are processes of the guest, each with one request past its cache.
func disks(p *Part) {
	c := newCloud(p, 1)
	c.first.ImportTiny()
	profiles := []compute.IOProfile{compute.DefaultIO, compute.Throughput}
	guests := map[compute.IOProfile]*lab.Guest{}
	for _, profile := range profiles {
		name := "io-" + string(profile)
		c.create(name, request{"imageID": "tiny", "memoryMiB": 256, "cpus": 2, "nics": []compute.NIC{},
			"disks": []compute.Disk{{}, {SizeMiB: dataMiB, IOProfile: profile}}})
		c.booted(c.first, c.instance(c.ready(name)))
		guests[profile] = c.first.Guest(name)
		guests[profile].Must(slow, fmt.Sprintf("dd if=/dev/zero of=/dev/vdb bs=1M count=%d conv=fsync 2>/dev/null", dataMiB))
	}
	large, small := map[compute.IOProfile][]float64{}, map[compute.IOProfile][]float64{}
	for range rounds() {
		for _, profile := range profiles {
			g := guests[profile]
			took := c.clocked(g, fmt.Sprintf("for i in $(seq 0 %d); do (for n in $(seq %d); do dd if=/dev/vdb of=/dev/null bs=64k count=%d skip=$((i*%d)) iflag=direct 2>/dev/null; done) & done; wait", readers-1, passes, perBlock, perBlock))
			large[profile] = append(large[profile], passes*dataMiB/took)
			took = c.clocked(g, fmt.Sprintf("dd if=/dev/vdb of=/dev/null bs=4k count=%d iflag=direct 2>/dev/null", singles))
			small[profile] = append(small[profile], singles/took)
		}
	}
	for _, f := range []struct {
		what, unit string
		samples    map[compute.IOProfile][]float64
	}{
		{fmt.Sprintf("reads of 64 KiB, %d under way", readers), "MiB/s", large}, {"reads of 4 KiB, one after the other", "1/s", small},
	} {
		plain := Summarize(f.samples[compute.DefaultIO]...)
		p.Add(Figure{What: f.what + ": profile default", Unit: f.unit, Ours: plain})
		wide := Summarize(f.samples[compute.Throughput]...)
		p.Add(Figure{What: f.what + ": profile throughput", Unit: f.unit, Ours: wide, Note: fmt.Sprintf("%.2f of the default's, as the guest sees it", wide.Median/plain.Median)})
	}
}

// clocked is how long a command takes by the guest's own clock, in seconds.
func (c *cloud) clocked(g *lab.Guest, command string) float64 {
	c.Helper()
	out := g.Must(5*time.Minute, "read a b < /proc/uptime; "+command+"; read d b < /proc/uptime; echo =$a=$d=")
	words := strings.Split(out, "=")
	if len(words) < 3 {
		c.Fatalf("the guest says %q", out)
	}
	from, err := strconv.ParseFloat(words[len(words)-3], 64)
	c.must(err)
	to, err := strconv.ParseFloat(words[len(words)-2], 64)
	c.must(err)
	if to <= from {
		c.Fatalf("the guest's clock does not go on: %q", out)
	}
	return to - from
}
