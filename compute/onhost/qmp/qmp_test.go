package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const greeting = `{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":22},"package":""},"capabilities":["oob"]}}` + "\r\n"

// server is a scripted QEMU.
type server struct {
	conn  *net.UnixConn
	lines *bufio.Scanner
}

type request struct {
	Execute   string         `json:"execute"`
	Arguments map[string]any `json:"arguments"`
	ID        string         `json:"id"`
}

func (s *server) next() (request, error) {
	var r request
	if !s.lines.Scan() {
		return r, fmt.Errorf("the client is gone: %w", s.lines.Err())
	}
	return r, json.Unmarshal(s.lines.Bytes(), &r)
}

func (s *server) say(format string, args ...any) { _, _ = fmt.Fprintf(s.conn, format+"\r\n", args...) }

// against runs a script at the other end of a client's connection, after the negotiation.
func against(t *testing.T, script func(*server)) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "q")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		s := &server{conn, bufio.NewScanner(conn)}
		_, _ = conn.Write([]byte(greeting))
		if r, err := s.next(); err == nil && r.Execute == "qmp_capabilities" {
			s.say(`{"return":{},"id":%q}`, r.ID)
			script(s)
		}
	})
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = l.Close(); wg.Wait() })
	return c
}

func TestRepliesFindTheirCallersWhateverTheirOrder(t *testing.T) {
	const n = 20
	c := against(t, func(s *server) {
		var all []request
		for range n {
			r, err := s.next()
			if err != nil {
				return
			}
			all = append(all, r)
		}
		for i := range all {
			r := all[n-1-i]
			s.say(`{"event":"NOISE","timestamp":{"seconds":1,"microseconds":2},"data":{}}`)
			s.say(`{"return":{"got":%v},"id":%q}`, r.Arguments["number"], r.ID)
		}
		_, _ = s.next()
	})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var answer struct{ Got int }
			if err := c.Do(t.Context(), "echo", map[string]any{"number": i}, &answer); err != nil || answer.Got != i {
				t.Errorf("asked with %d, got %d, %v", i, answer.Got, err)
			}
		})
	}
	wg.Wait()
	if v := c.Version(); v.Major != 7 || v.Minor != 2 {
		t.Errorf("version %+v", v)
	}
}

func TestAnErrorCarriesItsClass(t *testing.T) {
	c := against(t, func(s *server) {
		r, _ := s.next()
		s.say(`{"id":%q,"error":{"class":"CommandNotFound","desc":"no such thing"}}`, r.ID)
		_, _ = s.next()
	})
	err := c.Do(t.Context(), "thing", nil, nil)
	if said, ok := errors.AsType[*Error](err); !ok || said.Class != "CommandNotFound" || err.Error() != "thing: no such thing" {
		t.Fatalf("%v", err)
	}
}

func TestEventsReachEverySubscriberInOrder(t *testing.T) {
	c := against(t, func(s *server) {
		_, _ = s.next()
		for i := range 300 { // more than a sleeping reader may be behind
			s.say(`{"event":"E%d","timestamp":{"seconds":5,"microseconds":7}}`, i)
		}
	})
	one, stop := c.Events()
	two, _ := c.Events()
	stop()
	if _, open := <-one; open {
		t.Fatal("an ended subscription is still open")
	}
	go func() { _ = c.Do(context.Background(), "go", nil, nil) }()
	<-c.Done()
	var last Event
	count := 0
	for e := range two {
		last, count = e, count+1
	}
	if last.Name != "E299" || count != 256 || last.At.Unix() != 5 {
		t.Fatalf("%d events, the last is %+v", count, last)
	}
}

func TestTheEndOfTheConnectionReachesAllWhoWait(t *testing.T) {
	c := against(t, func(s *server) {
		for range 3 {
			_, _ = s.next()
		}
	})
	errs := make(chan error, 3)
	for range 3 {
		go func() { errs <- c.Do(context.Background(), "wait", nil, nil) }()
	}
	for range 3 {
		if err := <-errs; err == nil {
			t.Fatal("an answer came from nobody")
		}
	}
	if err := c.Do(t.Context(), "again", nil, nil); err == nil || c.Err() == nil {
		t.Fatal("a dead connection still works")
	}
}

func TestACallerDoesNotWaitLongerThanItsContext(t *testing.T) {
	c := against(t, func(s *server) {
		_, _ = s.next()
		r, _ := s.next()
		s.say(`{"return":{},"id":%q}`, r.ID)
		_, _ = s.next()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Do(ctx, "slow", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	if err := c.Do(t.Context(), "fast", nil, nil); err != nil {
		t.Fatalf("the connection is spoiled: %v", err)
	}
}

func TestAServerThatDoesNotGreetIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
}

func TestARealQEMUAnswersAndTakesAFile(t *testing.T) {
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("no QEMU here")
	}
	path := filepath.Join(t.TempDir(), "q")
	cmd := exec.Command(binary, "-machine", "none", "-nodefaults", "-display", "none", "-S", "-qmp", "unix:"+path+",server=on,wait=off")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var c *Client
	for range 200 {
		if c, err = Dial(t.Context(), path); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	f, err := os.CreateTemp(t.TempDir(), "f")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := c.SendFile(t.Context(), "mine", f); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), "closefd", map[string]any{"fdname": "mine"}, nil); err != nil {
		t.Fatalf("the file did not arrive: %v", err)
	}
	events, _ := c.Events()
	if err := c.Do(t.Context(), "quit", nil, nil); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Name != "SHUTDOWN" {
		t.Fatalf("%+v", e)
	}
	<-c.Done()
}

func TestALineWithoutEndEndsTheConnection(t *testing.T) {
	for name, text := range map[string]string{"a line": strings.Repeat("x", 64<<10), "a depth": strings.Repeat("[", 64<<10)} {
		c := against(t, func(s *server) {
			for {
				if _, err := s.conn.Write([]byte(text)); err != nil {
					return
				}
			}
		})
		select {
		case <-c.Done():
		case <-time.After(30 * time.Second):
			t.Fatalf("%s without end is read on", name)
		}
		if err := c.Do(t.Context(), "query-status", nil, nil); err == nil || len(err.Error()) > 300 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
