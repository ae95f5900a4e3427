package compute

import (
	"fmt"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

func TestHowFarAVMMayGrowIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		memory, most int64
		want         string
	}{
		"not at all":               {513, 0, ""},
		"to four times":            {512, 2048, ""},
		"to what it has":           {512, 512, ""},
		"from too little":          {252, 1024, "spec.memoryMiB: must be at least 256 MiB where maxMemoryMiB is set"},
		"to less than it has":      {512, 256, "spec.maxMemoryMiB: 256 MiB is not between memoryMiB, which is 512, and"},
		"below nothing":            {512, -4, "spec.maxMemoryMiB: -4 MiB is not between"},
		"to more than any host":    {512, MaxMemoryMiB + 4, "spec.maxMemoryMiB"},
		"to what no guest takes":   {512, 1023, "spec.maxMemoryMiB: must be a multiple of 4 MiB"},
		"from what no guest takes": {513, 1024, "spec.memoryMiB: must be a multiple of 4 MiB where maxMemoryMiB is set"},
	} {
		said := ""
		for _, d := range checkGrowth(&VMSpec{MemoryMiB: c.memory, MaxMemoryMiB: c.most}) {
			said += d.Field + ": " + d.Message + "\n"
		}
		if (said == "") != (c.want == "") || !strings.Contains(said, c.want) {
			t.Errorf("%s: %q, want %q", name, said, c.want)
		}
	}
}

func TestHowManyProcessorsAVMMayHaveIsJudged(t *testing.T) {
	for most, good := range map[int64]bool{0: true, 2: true, 4: true, MaxCPUs: true, 1: false, -1: false, MaxCPUs + 1: false} {
		if got := checkGrowth(&VMSpec{CPUs: 2, MaxCPUs: most}); (len(got) == 0) != good {
			t.Errorf("%d: %v", most, got)
		}
	}
}

func TestSizeOfAVMThatRunsOnlyGrowsAsFarAsItWasStartedFor(t *testing.T) {
	old := &VM{Meta: resource.Meta{Name: "web"}, Spec: VMSpec{CPUs: 2, MemoryMiB: 512, MaxMemoryMiB: 4096}}
	started := &Instance{Spec: InstanceSpec{MemoryMiB: 512, BootMemoryMiB: 512, MaxMemoryMiB: 2048, MaxCPUs: 4}}
	for name, c := range map[string]struct {
		cpus, memory, most int64
		instance           *Instance
		want               string
	}{
		"nothing":                  {2, 512, 4096, started, ""},
		"how far it may grow":      {2, 512, 8192, started, ""},
		"more memory":              {2, 1024, 4096, started, ""},
		"all that it may have":     {2, 2048, 4096, started, ""},
		"more than it was started": {2, 2052, 4096, started, "give VM web 2052 MiB of memory: it runs, and was started for 2048 at most; stop it first: virga vm stop web --wait"},
		"started for none":         {2, 1024, 4096, &Instance{}, "was not started for more; stop it first: virga vm stop web --wait, and say how far it may grow then (--max-memory)"},
		"not started yet":          {2, 1024, 4096, nil, "was not started for more"},
		"a piece too small":        {2, 1022, 4096, started, "must be a multiple of 4 MiB"},
		"less memory":              {2, 256, 4096, started, "a guest gives back none; limit what it gets of its host's (virga vm resize web --memory-limit 256MiB), or stop it first"},
		"more processors":          {4, 512, 4096, started, ""},
		"too many processors":      {5, 512, 4096, started, "give VM web 5 processors: it runs, and was started for 4 at most; stop it first"},
		"processors, not started":  {3, 512, 4096, nil, "was not started for more"},
		"processors for none":      {3, 512, 4096, &Instance{}, "and say how many it may have then (--max-cpus)"},
		"fewer processors":         {1, 512, 4096, started, "take processors from VM web: it runs, and a guest gives back none"},
	} {
		err := hotSize(old, &VMSpec{CPUs: c.cpus, MemoryMiB: c.memory, MaxMemoryMiB: c.most}, c.instance)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && !fault.Is(err, fault.Precondition) && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v is a %s", name, err, fault.KindOf(err))
		}
	}
}

func TestMemoryInHugePagesIsWholePagesAndDoesNotGrow(t *testing.T) {
	for name, c := range map[string]struct {
		pages        HugePages
		memory, most int64
		want         string
	}{
		"none":               {"", 513, 0, ""},
		"of 2 MiB":           {HugePages2MiB, 512, 0, ""},
		"half a page":        {HugePages2MiB, 513, 0, "spec.memoryMiB: 513 MiB are no whole pages of 2MiB"},
		"of 1 GiB":           {HugePages1GiB, 2048, 0, ""},
		"half a large page":  {HugePages1GiB, 1536, 0, "spec.memoryMiB: 1536 MiB are no whole pages of 1GiB"},
		"of an unknown size": {"4KiB", 512, 0, `spec.hugePages: "4KiB" is none of 2MiB, 1GiB`},
		"that would grow":    {HugePages2MiB, 512, 1024, "spec.maxMemoryMiB: memory in huge pages does not grow"},
	} {
		said := ""
		spec := VMSpec{MemoryMiB: c.memory, MaxMemoryMiB: c.most, Hardware: Hardware{HugePages: c.pages}}
		checkHugePages(&spec, func(field, format string, args ...any) { said += field + ": " + fmt.Sprintf(format, args...) })
		if (said == "") != (c.want == "") || !strings.Contains(said, c.want) {
			t.Errorf("%s: %q, want %q", name, said, c.want)
		}
		d := demandOf(&spec)
		if d.MemoryMiB+d.Huge2MMiB+d.Huge1GMiB != c.memory && c.want == "" || (d.Huge2MMiB > 0) != (c.pages == HugePages2MiB) || (d.Huge1GMiB > 0) != (c.pages == HugePages1GiB) {
			t.Errorf("%s: it takes %+v", name, d)
		}
	}
	old := &VM{Meta: resource.Meta{Name: "web"}, Spec: VMSpec{MemoryMiB: 512}}
	if err := hotSize(old, &VMSpec{MemoryMiB: 512, Hardware: Hardware{HugePages: HugePages2MiB}}, nil); !fault.Is(err, fault.Precondition) {
		t.Errorf("the pages of a VM that runs are changed: %v", err)
	}
}

func TestInstanceGrowsWithItsVMAndNeverShrinks(t *testing.T) {
	s := InstanceSpec{MemoryMiB: 1024, BootMemoryMiB: 512, MaxMemoryMiB: 2048}
	for wanted, want := range map[int64]int64{512: 1024, 1024: 1024, 1536: 1536, 2048: 2048, 4096: 1024} {
		if got := grownTo(s.MemoryMiB, wanted, s.MaxMemoryMiB); got != want {
			t.Errorf("its VM has %d, and it gets %d, want %d", wanted, got, want)
		}
	}
	fixed := InstanceSpec{MemoryMiB: 1024, CPUs: 1}
	if got := grownTo(fixed.MemoryMiB, 2048, fixed.MaxMemoryMiB); got != 1024 {
		t.Errorf("one that cannot grow gets %d", got)
	}
	// Its memory nodes keep the size that its guest has seen, wherever it moves.
	for spec, want := range map[*InstanceSpec]int64{&s: 512, &fixed: 1024} {
		if p := seenParts(&Instance{Spec: *spec}); len(p) != 1 || p[0] != (host.NUMAPart{Node: host.Unbound, CPUs: spec.CPUs, MemoryMiB: want}) {
			t.Errorf("its guest has seen %+v, want %d MiB", p, want)
		}
	}
}
