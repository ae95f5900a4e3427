package main

import (
	"os"
	"testing"
)

func TestDaemonIsFoundByItsLockWithoutTheRunFolder(t *testing.T) {
	c := &config{state: t.TempDir(), run: t.TempDir()}
	if pid := c.daemonPID(); pid != 0 {
		t.Fatalf("process %d has a lock that nobody took", pid)
	}
	unlock, err := lockFolder(c.state)
	if err != nil {
		t.Fatal(err)
	}
	if pid := c.daemonPID(); pid != os.Getpid() {
		t.Errorf("process %d has the lock, and not %d", pid, os.Getpid())
	}
	unlock()
	if pid := c.daemonPID(); pid != 0 {
		t.Errorf("process %d is taken for the daemon; it is a number of one that has ended", pid)
	}
}
