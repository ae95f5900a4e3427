package compute

import (
	"context"
	"testing"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/storage"
)

// gate is a placer that refuses with an error, or nobody.
type gate struct{ err error }

func (g gate) Check(placement.Request) error { return g.err }
func (gate) Place(context.Context, placement.Request, func(*store.Batch, placement.Choice) error) error {
	return nil
}
func (gate) Resize(context.Context, *placement.Claim, string, placement.Demand, func(*store.Batch) error) error {
	return nil
}
func (g gate) CheckResize(*placement.Claim, string, placement.Demand) error { return g.err }
func (gate) Release(*store.Batch, resource.Ref, resource.ID)                {}
func (gate) SetRules(*store.Batch, *placement.Claim, []resource.ID)         {}

func TestPowerAsksForTheNextBootOnlyWhereOneIsNeeded(t *testing.T) {
	db := store.NewDB(memory.New(), resource.NewCatalog(VMs, storage.Volumes))
	running := func(change func(*VM)) *VM {
		vm := &VM{Meta: resource.Meta{ID: "vm", Name: "web"}, Spec: VMSpec{Power: Running, BootToken: "a"},
			Status: VMStatus{Boot: 3, BootToken: "a", EndedBoot: 2, InstanceID: "i"}}
		change(vm)
		return vm
	}
	for name, c := range map[string]struct {
		vm   *VM
		want Power
		boot int64
	}{
		"what runs stays in its boot":                      {running(func(*VM) {}), Running, 3},
		"a guest that powered itself off gets the next":    {running(func(vm *VM) { vm.Status.EndedBoot, vm.Status.InstanceID = 3, "" }), Running, 4},
		"asking again before it begins asks for no more":   {running(func(vm *VM) { vm.Status.EndedBoot, vm.Spec.BootToken = 3, "b" }), Running, 4},
		"one that was stopped gets the next":               {running(func(vm *VM) { vm.Spec.Power, vm.Status.EndedBoot = Stopped, 3 }), Running, 4},
		"one that is still stopping ends its boot first":   {running(func(vm *VM) { vm.Spec.Power = Stopped }), Running, 4},
		"one that waits after a crash is started now":      {running(func(vm *VM) { vm.Status.Crashes, vm.Status.InstanceID = 2, "" }), Running, 4},
		"one that crashed and runs again stays":            {running(func(vm *VM) { vm.Status.Crashes = 2 }), Running, 3},
		"stopping asks for no boot":                        {running(func(*VM) {}), Stopped, 3},
		"what is paused goes on in its boot":               {running(func(vm *VM) { vm.Spec.Power = Paused }), Running, 3},
		"a VM that was never started is in its first boot": {&VM{Spec: VMSpec{Power: Running}}, Running, 1},
	} {
		t.Run(name, func(t *testing.T) {
			spec := c.vm.Spec
			spec.Power = c.want
			if err := (&Front{Placer: gate{}}).Power(db.Snapshot(), db.Begin(), c.vm, &spec); err != nil {
				t.Fatal(err)
			}
			after := *c.vm
			after.Spec = spec
			if got := Boot(&after); got != c.boot {
				t.Errorf("it is in boot %d, want %d", got, c.boot)
			}
			again := spec
			if err := (&Front{Placer: gate{}}).Power(db.Snapshot(), db.Begin(), &after, &again); err != nil || Boot(&VM{Spec: again, Status: after.Status}) != c.boot && after.Status.InstanceID != "" {
				t.Errorf("asked again it is in another boot: %v %+v", err, again)
			}
		})
	}
}

func TestPowerIsRefusedWhereNoHostHasCapacity(t *testing.T) {
	db := store.NewDB(memory.New(), resource.NewCatalog(VMs, storage.Volumes))
	f := &Front{Placer: gate{fault.New(fault.Exhausted, "no host has 4 CPUs left")}}
	vm := &VM{Meta: resource.Meta{ID: "vm", Name: "web"}, Spec: VMSpec{Power: Stopped}}
	spec := VMSpec{Power: Running}
	if err := f.Power(db.Snapshot(), db.Begin(), vm, &spec); !fault.Is(err, fault.Exhausted) || spec.BootToken != "" {
		t.Errorf("%v %+v", err, spec)
	}
	if err := f.Restart(db.Snapshot(), db.Begin(), vm, false, ""); !fault.Is(err, fault.Exhausted) {
		t.Errorf("a restart of one that is stopped starts it: %v", err)
	}
	vm.Status.InstanceID = "i" // it has its place
	if err := f.Power(db.Snapshot(), db.Begin(), vm, &spec); err != nil {
		t.Error(err)
	}
}

func TestARestartThatIsRepeatedRestartsOnce(t *testing.T) {
	db := store.NewDB(memory.New(), resource.NewCatalog(VMs, storage.Volumes))
	db.Inline = true
	f := &Front{VMs: store.Specs(store.NewRegistry(), VMs, "test"), Placer: gate{}}
	commit := func(do func(*store.Batch, *VM) error) *VM {
		t.Helper()
		b := db.Begin()
		vm := store.Find(db.Snapshot(), VMs, "vm")
		if vm == nil {
			vm = &VM{Meta: resource.Meta{ID: "vm", Name: "web", Project: "p"}, Spec: VMSpec{Power: Running}, Status: VMStatus{Boot: 1, InstanceID: "i"}}
			f.VMs.Create(b, vm)
		} else if err := do(b, vm); err != nil {
			t.Fatal(err)
		}
		if err := db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		return store.Find(db.Snapshot(), VMs, "vm")
	}
	commit(nil)
	for range 2 {
		vm := commit(func(b *store.Batch, vm *VM) error { return f.Restart(db.Snapshot(), b, vm, true, "mine") })
		if Boot(vm) != 2 || vm.Generation != 2 || vm.Spec.KillInstanceID != "i" {
			t.Errorf("boot %d, generation %d, killed %q", Boot(vm), vm.Generation, vm.Spec.KillInstanceID)
		}
	}
	// Without a token each request is another; the boot counts when the loop has begun it.
	if vm := commit(func(b *store.Batch, vm *VM) error { return f.Restart(db.Snapshot(), b, vm, false, "") }); vm.Spec.BootToken == "mine" {
		t.Error("the second restart is lost")
	}
}

func TestVerbsOfPowerAreRefusedWhereTheyMakeNoSense(t *testing.T) {
	db := store.NewDB(memory.New(), resource.NewCatalog(VMs, storage.Volumes))
	f := &Front{VMs: store.Specs(store.NewRegistry(), VMs, "test"), Placer: gate{}}
	now := db.Now()
	runs := &VM{Meta: resource.Meta{ID: "r", Name: "web"}, Spec: VMSpec{Power: Running, BootToken: "a"}, Status: VMStatus{Boot: 2, BootToken: "a", EndedBoot: 1, InstanceID: "i"}}
	off := &VM{Meta: resource.Meta{ID: "o", Name: "web"}, Spec: VMSpec{Power: Stopped}}
	ended := resource.Copy(runs) // its guest powered itself off
	ended.Status.EndedBoot = 2
	going := resource.Copy(runs)
	going.Deleting = &now
	for verb, do := range map[string]func(*VM) error{
		"start":   func(vm *VM) error { return f.Start(db.Snapshot(), db.Begin(), vm) },
		"stop":    func(vm *VM) error { return f.Stop(db.Begin(), vm, false) },
		"restart": func(vm *VM) error { return f.Restart(db.Snapshot(), db.Begin(), vm, false, "") },
		"pause":   func(vm *VM) error { return f.Pause(db.Begin(), vm) },
		"resume":  func(vm *VM) error { return f.Resume(db.Begin(), vm) },
	} {
		if err := do(runs); err != nil {
			t.Errorf("%s of a VM that runs: %v", verb, err)
		}
		if err := do(going); !fault.Is(err, fault.Precondition) {
			t.Errorf("%s of a VM that is being deleted: %v", verb, err)
		}
		for what, vm := range map[string]*VM{"is off": off, "powered itself off": ended} {
			if err := do(vm); (verb == "pause" || verb == "resume") != fault.Is(err, fault.Precondition) {
				t.Errorf("%s of a VM that %s: %v", verb, what, err)
			}
		}
	}
}
