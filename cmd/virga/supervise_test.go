package main

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDaemonThatWorkedIsStartedAgainAndAFirstStartThatFailsIsNot(t *testing.T) {
	for _, d := range []struct {
		name string
		e    ended
		last time.Duration
		want time.Duration // 0: none is started
	}{
		{"killed", ended{code: -1, worked: true, ran: time.Hour}, 0, time.Second},
		{"killed again at once", ended{code: -1, worked: true, ran: time.Second}, time.Second, 2 * time.Second},
		{"again and again", ended{code: -1, worked: true, ran: time.Second}, 40 * time.Second, time.Minute},
		{"after it ran for long", ended{code: -1, worked: true, ran: time.Hour}, time.Minute, time.Second},
		{"a panic", ended{code: 2, worked: true, ran: time.Hour}, 0, time.Second},
		{"a disk that is full for a while", ended{code: 9, worked: true, ran: time.Second}, time.Second, 2 * time.Second},
		{"virga down", ended{code: 0, worked: true, ran: time.Hour}, 0, 0},
		{"virga down, killed in the end", ended{code: -1, told: true, worked: true, ran: time.Hour}, 0, 0},
		{"a first start that fails", ended{code: 8, ran: time.Second}, 0, 0},
		{"removed from its cloud", ended{code: 11, worked: true, ran: time.Hour}, 0, 0},
	} {
		pause, yes := again(d.e, d.last)
		if yes != (d.want > 0) || pause != d.want {
			t.Errorf("%s: %v, %v; want %v", d.name, pause, yes, d.want)
		}
	}
}

// However often it dies, it is started again within a minute, and never faster than once in a second.
func TestPauseBetweenTwoStartsIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		last := time.Duration(0)
		for range rapid.IntRange(1, 30).Draw(t, "deaths") {
			ran := time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "ran"))
			pause, yes := again(ended{code: -1, worked: true, ran: ran}, last)
			if !yes || pause < soonest || pause > latest {
				t.Fatalf("after %v, having waited %v: %v, %v", ran, last, pause, yes)
			}
			last = pause
		}
	})
}
