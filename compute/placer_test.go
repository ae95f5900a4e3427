package compute

import (
	"fmt"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

func TestPausesBetweenRefusalsGrowAndEnd(t *testing.T) {
	for waited, want := range map[time.Duration]time.Duration{
		0: 5 * time.Second, 8 * time.Second: 5 * time.Second, time.Minute: 30 * time.Second, time.Hour: 5 * time.Minute,
		-time.Hour: 5 * time.Second, // a clock that was set back
	} {
		if got := retryAfter(waited); got != want {
			t.Errorf("after %v the pause is %v, not %v", waited, got, want)
		}
	}
}

func TestCapacityWakesThoseFirstThatHaveWaitedLongest(t *testing.T) {
	var w waiting
	for i := range 40 {
		w.add(resource.ID(fmt.Sprint(i)))
		w.add("0") // is there already
	}
	woken := w.wake()
	if len(woken) != wokenAtOnce || woken[0] != "0" || woken[31] != "31" {
		t.Errorf("woken are %v", woken)
	}
	w.add("0") // refused again: behind the others
	if rest := w.wake(); len(rest) != 9 || rest[0] != "32" || rest[8] != "0" {
		t.Errorf("then %v", rest)
	}
	if again := w.wake(); len(again) > 0 {
		t.Errorf("who was woken is woken again: %v", again)
	}
	w.add("1")
	w.add("2")
	w.forget("1") // it has its place
	if rest := w.wake(); len(rest) != 1 || rest[0] != "2" {
		t.Errorf("woken are %v", rest)
	}
}
