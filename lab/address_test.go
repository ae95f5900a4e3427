package lab

import (
	"strings"
	"testing"
	"time"
)

// become gives the host's NIC another address.
func (h *Host) become(address string) {
	h.cloud.t.Helper()
	for _, words := range [][]string{{"ip", "address", "flush", "dev", "ul0"}, {"ip", "address", "add", address + "/24", "dev", "ul0"}} {
		if out, err := h.Exec(words[0], words[1:]...); err != nil {
			h.cloud.t.Fatalf("%v: %v: %s", words, err, out)
		}
	}
}

func TestAHostWhoseAddressChangesFollowsItOrSaysWhatToDo(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	h.Must("up", "--state", h.State, "--name", h.Name) // nobody chooses the address
	h.Must("down", "--state", h.State)
	h.become("192.168.77.91")
	if out := h.Must("up", "--state", h.State); !strings.Contains(out, "address is now 192.168.77.91; it was 192.168.77.1") {
		t.Errorf("up does not say that the address is another: %s", out)
	}
	h.Eventually(20*time.Second, "the cloud knows the new address", func() bool {
		out, _ := h.Virga("host", "show", h.Name, "-o", "yaml")
		return strings.Contains(out, "192.168.77.91:7444")
	})
	h.Must("down", "--state", h.State)

	h.Must("up", "--state", h.State, "--address", "192.168.77.91") // this one is chosen
	h.Must("down", "--state", h.State)
	h.become("192.168.77.92")
	h.refuses(8, []string{"192.168.77.91", "does not have that address any more", "virga up --address 192.168.77.92"}, "up", "--state", h.State)
	h.Must("up", "--state", h.State, "--address", "192.168.77.92")
	h.Eventually(20*time.Second, "the cloud knows the chosen address", func() bool {
		out, _ := h.Virga("host", "show", h.Name, "-o", "yaml")
		return strings.Contains(out, "192.168.77.92:7444")
	})
}
