package bench

import (
	"os/exec"
	"regexp"
	"strconv"
)

var rate = regexp.MustCompile(`(?m)^BenchmarkReconcile/(\w+)\S*\s.*\s([\d.]+) records/s`)

// engine runs the loop's own benchmark: one creation, one step, one status a record.
func engine(p *Part) {
	rates := map[string][]float64{}
	for range min(rounds(), 3) {
		out, err := exec.Command("go", "test", "-run", "^$", "-bench", "BenchmarkReconcile", "-benchtime", "2s", "github.com/virga-cloud/virga/engine/reconcile").CombinedOutput()
		if err != nil {
			p.Fatalf("run the loop's benchmark: %v: %s", err, out)
		}
		for _, m := range rate.FindAllStringSubmatch(string(out), -1) {
			n, _ := strconv.ParseFloat(m[2], 64)
			rates[m[1]] = append(rates[m[1]], n)
		}
	}
	for _, s := range []string{"memory", "etcd"} {
		if len(rates[s]) == 0 {
			p.Fatalf("the loop's benchmark told nothing of store %s", s)
		}
		p.Add(Figure{What: "records reconciled, " + s + " store", Unit: "1/s", Ours: Summarize(rates[s]...)})
	}
}
