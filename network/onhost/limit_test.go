package onhost

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiterHoldsOneGuestAndNotTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(Limit{PerSecond: 10, Burst: 20, AtOnce: 3, Connections: 1})
		a, b := netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.12")
		var open []func()
		for range 3 {
			done, ok := l.Begin(a)
			if !ok {
				t.Fatal("one of three questions at once is refused")
			}
			open = append(open, done)
		}
		if _, ok := l.Begin(a); ok {
			t.Error("a fourth question at once is taken")
		}
		if _, ok := l.Begin(b); !ok {
			t.Error("another guest is refused")
		}
		open[0]()
		open[0]() // twice is once
		if _, ok := l.Begin(a); !ok {
			t.Error("after an answer there is no place for the next question")
		}
		if _, ok := l.Begin(a); ok {
			t.Error("one answer made two places")
		}
	})
}

func TestLimiterLetsAFloodThroughAtItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(Limit{PerSecond: 10, Burst: 20, AtOnce: 3})
		a := netip.MustParseAddr("10.0.0.11")
		asked := func() (n int) {
			for range 1000 {
				if done, ok := l.Begin(a); ok {
					done()
					n++
				}
			}
			return n
		}
		if n := asked(); n != 20 {
			t.Errorf("%d of a burst were let through, not 20", n)
		}
		time.Sleep(time.Second)
		if n := asked(); n != 10 {
			t.Errorf("%d were let through in the next second, not 10", n)
		}
	})
}

func TestLimiterForgetsGuestsThatAskNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(Limit{PerSecond: 10, Burst: 20, AtOnce: 3})
		for i := range 100 {
			if done, ok := l.Begin(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})); ok {
				done()
			}
		}
		busy, _ := l.Begin(netip.MustParseAddr("10.1.0.1"))
		time.Sleep(3 * askerKept)
		l.Begin(netip.MustParseAddr("10.1.0.2"))
		if len(l.guests) != 2 {
			t.Errorf("%d guests are remembered, not the two that ask", len(l.guests))
		}
		busy()
	})
}

func TestLimiterClosesConnectionsThatAreTooMany(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewLimiter(Limit{Connections: 1}).Listener(inner)
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	first := <-accepted
	second := dial()
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a second connection of one guest is open")
	}
	first.Close()
	dial()
	(<-accepted).Close()
}
