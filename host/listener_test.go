package host

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// walk looks every second until a time.
func walk(l *Listener, from, to time.Time) (state LifeState) {
	for at := from; !at.After(to); at = at.Add(time.Second) {
		state, _ = l.State("h", at)
	}
	return state
}

func TestAHostIsNotLostBeforeAFullGraceOfListening(t *testing.T) {
	l := NewListener(10*time.Second, noon)
	if got := walk(l, noon, noon.Add(9*time.Second)); got != Unknown {
		t.Errorf("after 9 s: %s", got)
	}
	if got := walk(l, noon.Add(9*time.Second), noon.Add(10*time.Second)); got != Lost {
		t.Errorf("after 10 s: %s", got)
	}
}

func TestAHostWithHeartbeatsIsAliveUntilTheyCeaseForAGrace(t *testing.T) {
	l := NewListener(10*time.Second, noon)
	l.Heartbeat("h", noon.Add(time.Second))
	if got := walk(l, noon.Add(time.Second), noon.Add(10*time.Second)); got != Alive {
		t.Errorf("after 9 s of silence: %s", got)
	}
	if got := walk(l, noon.Add(10*time.Second), noon.Add(11*time.Second)); got != Lost {
		t.Errorf("after 10 s of silence: %s", got)
	}
	l.Heartbeat("h", noon.Add(12*time.Second))
	if got, again := l.State("h", noon.Add(12*time.Second)); got != Alive || again != 10*time.Second {
		t.Errorf("after a heartbeat: %s, %v", got, again)
	}
}

func TestAJumpOfTheClockLosesNobody(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": time.Hour, "backward": -time.Hour} {
		l := NewListener(10*time.Second, noon)
		l.Heartbeat("h", noon)
		walk(l, noon, noon.Add(3*time.Second))
		after := noon.Add(3*time.Second + jump)
		if got, _ := l.State("h", after); got != Alive {
			t.Errorf("%s: %s right after the jump", name, got)
		}
		if got := walk(l, after, after.Add(4*time.Second)); got != Alive {
			t.Errorf("%s: %s soon after the jump", name, got)
		}
		if got := walk(l, after, after.Add(12*time.Second)); got != Lost {
			t.Errorf("%s: a host that is silent is %s long after the jump", name, got)
		}
	}
}

func TestAServerThatStoodStillHearsItsHostsBeforeItJudges(t *testing.T) {
	l := NewListener(2*time.Second, noon)
	l.Heartbeat("h", noon)
	if got, _ := l.State("h", noon.Add(time.Minute)); got != Alive {
		t.Errorf("right after a minute of standing still: %s", got)
	}
}

func TestNobodyIsLostWhoseHeartbeatCameWithinAGraceOfTheRealClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const grace = 10 * time.Second
		now := noon
		l := NewListener(grace, now)
		heard := now
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(15*time.Second)).Draw(t, "pause")))
			if rapid.Bool().Draw(t, "heard") {
				l.Heartbeat("h", now)
				heard = now
			}
			if state, _ := l.State("h", now); state == Lost && now.Sub(heard) < grace {
				t.Fatalf("lost after %v of silence", now.Sub(heard))
			}
		}
	})
}
