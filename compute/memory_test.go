package compute

import (
	"strings"
	"testing"
)

func TestAMemoryPolicyIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		policy MemoryPolicy
		want   string // what the one complaint says; empty: there is none
	}{
		"nothing said":                  {MemoryPolicy{}, ""},
		"all said":                      {MemoryPolicy{MemoryShares: 1, MemoryReservationMiB: 256, MemoryLimitMiB: 512}, ""},
		"all of it reserved":            {MemoryPolicy{MemoryReservationMiB: 1024}, ""},
		"a limit above the VM's memory": {MemoryPolicy{MemoryLimitMiB: 4096}, ""},
		"negative shares":               {MemoryPolicy{MemoryShares: -1}, "memoryShares: must be 1 to"},
		"too many shares":               {MemoryPolicy{MemoryShares: maxMemoryShares + 1}, "memoryShares: must be 1 to"},
		"a negative reservation":        {MemoryPolicy{MemoryReservationMiB: -1}, "memoryReservationMiB: must be 0 or more"},
		"more reserved than there is":   {MemoryPolicy{MemoryReservationMiB: 1025}, "memoryReservationMiB: must not be above memoryMiB, which is 1024"},
		"more reserved than allowed":    {MemoryPolicy{MemoryReservationMiB: 600, MemoryLimitMiB: 512}, "memoryReservationMiB: must not be above memoryLimitMiB, which is 512"},
		"a limit that nobody lives in":  {MemoryPolicy{MemoryLimitMiB: 10}, "memoryLimitMiB: must be 0, for all of its memory, or at least 64 MiB"},
		"a negative limit":              {MemoryPolicy{MemoryLimitMiB: -5}, "memoryLimitMiB: must be 0"},
	} {
		spec := VMSpec{MemoryMiB: 1024, MemoryPolicy: c.policy, Disks: []Disk{{}}}
		DefaultVM(&spec)
		got := CheckVM(&spec)
		switch {
		case c.want == "" && len(got) > 0:
			t.Errorf("%s: refused: %v", name, got)
		case c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0].Field+": "+got[0].Message, "spec."+c.want)):
			t.Errorf("%s: %v, want %q", name, got, c.want)
		}
	}
}

func TestSharesAndLimitFollowTheMemoryUnlessSaid(t *testing.T) {
	none, said := MemoryPolicy{}, MemoryPolicy{MemoryShares: 7, MemoryLimitMiB: 300}
	if got := none.Shares(512); got != 5120 {
		t.Errorf("shares of 512 MiB: %d, want 10 for each", got)
	}
	if got := said.Shares(512); got != 7 {
		t.Errorf("shares %d, want those that were said", got)
	}
	if a, b, c := none.Limit(512), said.Limit(512), said.Limit(200); a != 512 || b != 300 || c != 200 {
		t.Errorf("limits %d, %d, %d; want 512, 300, 200", a, b, c)
	}
}
