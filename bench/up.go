package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-cloud/virga/lab"
)

// up measures virga up, from the command to an API that answers.
func up(p *Part) {
	var fresh []float64
	for i := range min(rounds(), 3) {
		p.within(fmt.Sprint("fresh", i), func(p *Part) {
			c := lab.New(p, 1)
			fresh = append(fresh, startUp(p, c.Hosts[0]))
		})
	}
	p.Add(Figure{What: "virga up, new state folder, to API ready", Unit: "s", Ours: Summarize(fresh...), Target: &Target{Most: 3}})

	c := newCloud(p, 1)
	const vms = 1000
	c.fill(vms)
	var again []float64
	for range min(rounds(), 3) {
		c.first.Must("down", "--state", c.first.State)
		again = append(again, startUp(p, c.first))
	}
	p.Add(Figure{What: fmt.Sprintf("virga up, %d stopped VMs in the store", vms), Unit: "s", Ours: Summarize(again...), Target: &Target{Most: 5}})
}

// startUp is the seconds from the command to the first answer of the API.
func startUp(p *Part, h *lab.Host) float64 {
	p.Helper()
	begun := time.Now()
	h.Up()
	if _, err := ask(connect(p, h), "GET", vmsPath+"?limit=1", nil, nil); err != nil {
		p.Fatalf("ask the API after virga up: %v", err)
	}
	return time.Since(begun).Seconds()
}

// within runs a piece of a part whose leavings go before the next piece.
func (p *Part) within(name string, do func(*Part)) {
	p.Helper()
	piece := &Part{report: p.report, name: p.name}
	if !p.Run(name, func(t *testing.T) { piece.T = t; do(piece) }) {
		p.remember(piece.why)
		p.FailNow()
	}
}

// fill makes stopped VMs until there are so many.
func (c *cloud) fill(n int) {
	c.Helper()
	had := c.total()
	begun := time.Now()
	c.creates("fill", n-had, 16, stopped(false))
	c.Logf("%d VMs by the API in %v", n-had, time.Since(begun))
}

func (c *cloud) total() int {
	c.Helper()
	var page struct{ Total int }
	c.ask("GET", vmsPath+"?limit=1", nil, &page)
	return page.Total
}

// creates makes n VMs by so many clients at once, and gives how long each request took, in ms,
// and how many were made a second.
func (c *cloud) creates(prefix string, n, clients int, in request) (each []float64, perSecond float64) {
	c.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	begun := time.Now()
	for range clients {
		wg.Go(func() {
			api := connect(c.Part, c.first)
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				sent := time.Now()
				_, err := ask(api, "POST", vmsPath, draft(fmt.Sprintf("%s-%d", prefix, i), in), nil)
				took := ms(time.Since(sent))
				mu.Lock()
				each = append(each, took)
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil {
		c.Fatalf("create VMs: %v", failed)
	}
	return each, float64(n) / time.Since(begun).Seconds()
}
