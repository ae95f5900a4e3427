package bench

import (
	"fmt"
	"net/url"
	"time"
)

// api measures the API with many records and many who listen.
func api(p *Part) {
	c := newCloud(p, 1)
	for _, m := range []struct {
		clients, vms int
		target       *Target
	}{{1, 300, nil}, {8, 300, nil}, {32, 3000, &Target{Least: 800}}} {
		before := processorTime(c.first.PID())
		each, perSecond := c.creates(fmt.Sprintf("c%d", m.clients), m.vms, m.clients, stopped(true))
		used := ms(processorTime(c.first.PID())-before) / float64(m.vms)
		p.Add(Figure{What: fmt.Sprintf("creates of stopped VMs, %d clients", m.clients), Unit: "1/s", Ours: Summarize(perSecond), Target: m.target, Note: fmt.Sprintf("%d VMs, all with a port in one network", m.vms)})
		p.Add(Figure{What: fmt.Sprintf("a create, %d clients", m.clients), Unit: "ms", Ours: Summarize(each...)})
		p.Add(Figure{What: fmt.Sprintf("a create, %d clients: daemon's processor", m.clients), Unit: "ms", Ours: Summarize(used)})
	}
	c.fill(records())
	c.quiesce()
	c.lists(1000, "whole (pages of 1000)")
	c.lists(500, "in pages of 500")
	c.onePage(500)
	c.watch(1000)
}

// quiesce waits until nothing has changed for a second: loops look at all that was made.
func (c *cloud) quiesce() {
	c.Helper()
	last, since := int64(-1), time.Now()
	c.until(slow, "nothing changes any more", func() bool {
		var page struct{ Revision int64 }
		c.ask("GET", vmsPath+"?limit=1", nil, &page)
		if page.Revision != last {
			last, since = page.Revision, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// lists walks the whole list in pages.
func (c *cloud) lists(limit int, words string) {
	c.Helper()
	var took []float64
	var bytes int64
	seen := 0
	for range max(rounds(), 5) {
		seen, bytes = 0, 0
		begun := time.Now()
		for token := ""; ; {
			var page struct {
				Items    []struct{ ID string }
				NextPage string
			}
			size, err := ask(c.api, "GET", fmt.Sprintf("%s?limit=%d&page=%s", vmsPath, limit, url.QueryEscape(token)), nil, &page)
			if err != nil {
				c.Fatalf("list VMs: %v", err)
			}
			bytes, seen, token = bytes+size, seen+len(page.Items), page.NextPage
			if token == "" {
				break
			}
		}
		took = append(took, ms(time.Since(begun)))
	}
	if seen != c.total() {
		c.Fatalf("the list in pages of %d has %d VMs, there are %d", limit, seen, c.total())
	}
	c.Add(Figure{What: fmt.Sprintf("list %d VMs %s", seen, words), Unit: "ms", Ours: Summarize(took...), Note: fmt.Sprintf("%d bytes", bytes)})
}

// onePage asks for the first page only, as a person's screen does.
func (c *cloud) onePage(limit int) {
	c.Helper()
	var took []float64
	var size int64
	for range 50 {
		begun := time.Now()
		var err error
		if size, err = ask(c.api, "GET", fmt.Sprintf("%s?limit=%d", vmsPath, limit), nil, nil); err != nil {
			c.Fatalf("list VMs: %v", err)
		}
		took = append(took, ms(time.Since(begun)))
	}
	c.Add(Figure{What: fmt.Sprintf("one page of %d", limit), Unit: "ms", Ours: Summarize(took...), Note: fmt.Sprintf("%d bytes", size)})
}
