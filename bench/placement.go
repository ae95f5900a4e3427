package bench

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

var decision = regexp.MustCompile(`(?m)^BenchmarkPlacement/hosts=(\d+)(/plain)?(?:-\d+)?\s+\d+\s.*?([\d.]+) p99-µs\s+([\d.]+) placements/s`)

// placements runs the gate's own benchmark: a host for a VM with a new disk, decided and counted, in
// clouds with ten VMs on each host; beside it a plain look at every host.
func placements(p *Part) {
	type measured struct{ p99, rate []float64 }
	got := map[string]*measured{}
	for range min(rounds(), 3) {
		out, err := exec.Command("go", "test", "-run", "^$", "-bench", "BenchmarkPlacement", "-benchtime", "2000x", "github.com/virga-cloud/virga/cluster/placement").CombinedOutput()
		if err != nil {
			p.Fatalf("run the gate's benchmark: %v: %s", err, out)
		}
		for _, m := range decision.FindAllStringSubmatch(string(out), -1) {
			if got[m[1]+m[2]] == nil {
				got[m[1]+m[2]] = &measured{}
			}
			p99, _ := strconv.ParseFloat(m[3], 64)
			rate, _ := strconv.ParseFloat(m[4], 64)
			got[m[1]+m[2]].p99 = append(got[m[1]+m[2]].p99, p99/1000)
			got[m[1]+m[2]].rate = append(got[m[1]+m[2]].rate, rate)
		}
	}
	for _, c := range []struct {
		hosts string
		most  float64
	}{{"1000", 1}, {"5000", 2}, {"10000", 5}} {
		ours, plain := got[c.hosts], got[c.hosts+"/plain"]
		if ours == nil || plain == nil {
			p.Fatalf("the gate's benchmark told nothing of %s hosts", c.hosts)
		}
		p.Add(Figure{What: fmt.Sprintf("placement among %s hosts, p99", c.hosts), Unit: "ms", Ours: Summarize(ours.p99...), Bare: Summarize(plain.p99...), Target: &Target{Most: c.most}})
		p.Add(Figure{What: fmt.Sprintf("placements among %s hosts", c.hosts), Unit: "1/s", Ours: Summarize(ours.rate...), Bare: Summarize(plain.rate...), Target: &Target{Least: 5000}})
	}
}
