package lab

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.Remove(labFolder(os.Getpid()) + "-virga")
	_ = os.Remove(labFolder(os.Getpid()) + "-tiny.qcow2")
	os.Exit(code)
}

func TestTwoHostsMakeOneCloud(t *testing.T) {
	c := New(t, 2)
	c.Start()
	out := c.Hosts[0].Must("host", "list")
	t.Log(out)
}
