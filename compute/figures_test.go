package compute

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestFiguresAddUpAndWhatIsNotKnownStaysSo(t *testing.T) {
	a := Figures{CPUEntitledMHz: 1, CPUDemandMHz: 20, CPUUsedMHz: 300, CPUReadyMillis: 4, Memory: &MemoryFigures{1, 2, 3, 4, 5, 6}}
	if got := a.plus(a); got.CPUEntitledMHz != 2 || got.CPUDemandMHz != 40 || got.CPUUsedMHz != 600 || got.CPUReadyMillis != 8 || *got.Memory != (MemoryFigures{2, 4, 6, 8, 10, 12}) {
		t.Errorf("%+v, %+v", got, got.Memory)
	}
	if *a.Memory != (MemoryFigures{1, 2, 3, 4, 5, 6}) {
		t.Error("adding changes what is added")
	}
	for _, sum := range []Figures{a.plus(Figures{CPUReadyMillis: -1}), (Figures{CPUReadyMillis: -1}).plus(a)} {
		if sum.CPUReadyMillis != -1 || *sum.Memory != *a.Memory {
			t.Errorf("%+v", sum)
		}
	}
}

// sheetWorld is a cloud with the pools gold and gold/web, and VMs whose figures two hosts have told.
func sheetWorld(t *testing.T) (*poolWorld, map[resource.ID]HostFigures) {
	w := newPoolWorld(t)
	w.must(w.pool("gold", "", reserving(3000)))
	w.must(w.pool("web", "gold", func(s *PoolSpec) { s.CPULimitMHz = 700 }))
	w.must(w.vm("a", "web", "h1", CPUPolicy{}))
	w.must(w.vm("b", "web", "h2", CPUPolicy{}))
	w.must(w.vm("c", "gold", "h2", CPUPolicy{}))
	w.must(w.vm("d", "", "h2", CPUPolicy{}))
	w.must(w.vm("e", "", "h2", CPUPolicy{})) // of which nobody tells
	return w, map[resource.ID]HostFigures{
		"h1": {Guests: map[resource.ID]Figures{"i-a": {CPUEntitledMHz: 900, CPUUsedMHz: 100}}, PoolsMHz: map[resource.ID]int64{"web": 400, "gold": 1000}},
		"h2": {Guests: map[resource.ID]Figures{"i-b": {CPUUsedMHz: 20}, "i-c": {CPUUsedMHz: 3}, "i-d": {CPUUsedMHz: 5000}}, PoolsMHz: map[resource.ID]int64{"web": 50, "gold": 60}},
	}
}

func (w *poolWorld) running() (out []*VM) {
	for _, vm := range store.Every(w.db.Snapshot(), VMs) {
		x := *vm
		x.Status.InstanceID = "i-" + vm.ID
		out = append(out, &x)
	}
	return out
}

func TestASheetOfVMsBeginsWithWhoUsesMostAndNamesHostsToOperatorsAlone(t *testing.T) {
	w, told := sheetWorld(t)
	var names []string
	for _, line := range vmSheet(w.db.Snapshot(), w.running(), told, true) {
		names = append(names, line.Name+"@"+line.Host+"/"+line.Pool)
	}
	if got := strings.Join(names, " "); got != "d@h2/ a@h1/web b@h2/web c@h2/gold" {
		t.Error(got)
	}
	for _, line := range vmSheet(w.db.Snapshot(), w.running(), told, false) {
		if line.Host != "" {
			t.Errorf("a tenant is told of host %s", line.Host)
		}
	}
	if hosts := hostsOf(w.db.Snapshot(), w.running()); !reflect.DeepEqual(hosts, []resource.ID{"h1", "h2"}) {
		t.Errorf("asked are %v", hosts)
	}
}

func TestASheetOfPoolsSumsThoseInThem(t *testing.T) {
	w, told := sheetWorld(t)
	lines := poolSheet(w.db.Snapshot(), told)
	gold, web := lines[0], lines[1]
	if gold.Name != "gold" || gold.VMs != 3 || gold.CPUUsedMHz != 123 || gold.CPUEntitledMHz != 1060 || gold.CPUReservationMHz != 3000 {
		t.Errorf("%+v", gold)
	}
	if web.Parent != "gold" || web.VMs != 2 || web.CPUUsedMHz != 120 || web.CPUEntitledMHz != 450 || web.CPULimitMHz != 700 {
		t.Errorf("%+v", web)
	}
}

func TestHostsAreAskedAtOnceAndOneThatIsSilentIsLeftOut(t *testing.T) {
	var asked string
	agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		_ = json.NewEncoder(w).Encode(HostFigures{CPUMHz: 7})
	}))
	agent.Start()
	defer agent.Close()
	a := Asker{People: true, Dial: func(ctx context.Context, id resource.ID) (net.Conn, error) {
		if id == "silent" {
			return nil, fault.New(fault.Unavailable, "it does not answer")
		}
		return net.Dial("tcp", agent.Listener.Addr().String())
	}}
	got := a.Hosts(t.Context(), []resource.ID{"h1", "silent"})
	if len(got) != 1 || got["h1"].CPUMHz != 7 || asked != "/figures?people" {
		t.Errorf("%+v, asked for %s", got, asked)
	}
	if _, err := a.Host(t.Context(), "silent"); !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	if got := (Asker{}).Hosts(t.Context(), []resource.ID{"h1"}); len(got) != 0 {
		t.Errorf("without a way there are %v", got)
	}
}

func TestPoolsFollowWhatTheirVMsDemand(t *testing.T) {
	w, _ := sheetWorld(t)
	w.must(w.change("web", func(s *PoolSpec) { s.CPULimitMHz = 0 }))
	s := &PoolSpreader{DB: w.db, Statuses: w.pools.Statuses, Figures: func(context.Context, []resource.ID) map[resource.ID]HostFigures {
		return map[resource.ID]HostFigures{"h1": {Guests: map[resource.ID]Figures{"i-a": {CPUDemandMHz: 4000}}}, "h2": {Guests: map[resource.ID]Figures{"i-b": {CPUDemandMHz: 1000}, "i-c": {}}}}
	}}
	w.must(s.Spread(t.Context()))
	w.must(w.db.CatchUp(t.Context()))
	parts := store.Find(w.db.Snapshot(), Pools, "web").Status.Parts
	if len(parts) != 2 || parts[0].CPUShares != 3200 || parts[1].CPUShares != 800 {
		t.Errorf("a demands four times as much as b, so its host has four fifths: %+v", parts)
	}
	if s.ask(t.Context(), nil); s.demands["i-a"] != 4000 {
		t.Errorf("hosts are asked again at once: %v", s.demands)
	}
	s.asked = s.asked.Add(-spreadEvery)
	s.Figures = func(context.Context, []resource.ID) map[resource.ID]HostFigures {
		return map[resource.ID]HostFigures{"h1": {Guests: map[resource.ID]Figures{"i-a": {CPUDemandMHz: 0}}}}
	}
	if s.ask(t.Context(), nil); s.demands["i-a"] != 3000 || len(s.demands) != 1 {
		t.Errorf("what comes and goes in a second moves it all: %v", s.demands)
	}
}

func TestContentionNamesWhoTakesTheProcessors(t *testing.T) {
	i := &Instance{Meta: resource.Meta{ID: "i"}, Spec: InstanceSpec{VMName: "web"}}
	names := map[resource.ID]string{"x": "db", "y": "mail", "z": "old", "q": "new"}
	sheet := func(change func(*HostFigures)) HostFigures {
		f := HostFigures{CPUMHz: 10_000, CPUUsedMHz: 10_000, CPUShort: true, Guests: map[resource.ID]Figures{
			"i": {CPUEntitledMHz: 933, CPUDemandMHz: 2800, CPUUsedMHz: 933, CPUReadyMillis: 667},
			"x": {CPUUsedMHz: 5000}, "y": {CPUUsedMHz: 2000}, "z": {CPUUsedMHz: 1000}, "q": {CPUUsedMHz: 900}, "idle": {}}}
		change(&f)
		return f
	}
	own := func(f *HostFigures, change func(*Figures)) {
		x := f.Guests["i"]
		change(&x)
		f.Guests["i"] = x
	}
	for name, c := range map[string]struct {
		told     HostFigures
		limit    int64
		operator bool
		says     []string
		not      string
	}{
		"to operators by name":           {sheet(func(*HostFigures) {}), 0, true, []string{"demands 2800 MHz, is entitled to 933", "667 ms", "VM db uses 5000 MHz, mail uses 2000 MHz, old uses 1000 MHz, 1 others use the rest of 8900 MHz", "virga vm migrate web"}, "ask"},
		"to tenants by number":           {sheet(func(*HostFigures) {}), 0, false, []string{"4 other VMs on its host use 8900 MHz", "--cpu-shares"}, "db"},
		"its own limit":                  {sheet(func(f *HostFigures) { f.CPUShort = false }), 950, true, []string{"limit of 950 MHz", "--cpu-limit"}, "short"},
		"a limit far away":               {sheet(func(f *HostFigures) { f.CPUShort = false }), 5000, true, nil, ""},
		"a host that is idle":            {sheet(func(f *HostFigures) { f.CPUShort = false }), 0, true, nil, ""},
		"who has all it wants":           {sheet(func(f *HostFigures) { own(f, func(x *Figures) { x.CPUDemandMHz = 940 }) }), 0, true, nil, ""},
		"waits not measured":             {sheet(func(f *HostFigures) { own(f, func(x *Figures) { x.CPUReadyMillis = -1 }) }), 0, true, []string{"being measured"}, "-1"},
		"not VMs":                        {sheet(func(f *HostFigures) { f.Guests = map[resource.ID]Figures{"i": f.Guests["i"]} }), 0, true, []string{"beside VMs uses 9067 MHz"}, "VM db"},
		"a host that says nothing of it": {HostFigures{CPUShort: true}, 0, true, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			i.Spec.CPULimitMHz = c.limit
			got := strings.Join(contention(i, c.told, names, c.operator), "\n")
			if (got != "") != (c.says != nil) || c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("it says %q", got)
			}
			for _, word := range c.says {
				if !strings.Contains(got, word) {
					t.Errorf("%q does not say %q", got, word)
				}
			}
		})
	}
	if look := Seen(nil)[VMs.Kind]; look(t.Context(), newPoolWorld(t).db.Snapshot(), &VM{}, resource.Operator) != nil {
		t.Error("a VM that does not run is explained")
	}
}
