package qemu

import "testing"

func TestAGuestThatWritesMuchMayStandStillForLonger(t *testing.T) {
	for passes, want := range map[int64]int64{0: 30, 1: 30, 3: 30, 4: 60, 5: 120, 7: 480, 8: 480, 1000: 480} {
		if got := downtimeAfter(passes); got != want {
			t.Errorf("after %d passes it may stand still for %d ms, not %d", passes, got, want)
		}
	}
}
