package ovs

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

func nft(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		line, _, _ := strings.Cut(said.String(), "\n")
		return fault.New(fault.Unavailable, "set packet filter rules: %w: %s", err, line)
	}
	return nil
}

// guardScript drops what the host's own stack sees of a device that is a port of the user-space
// switch. Said again it changes nothing.
func guardScript(table, device string) string {
	return fmt.Sprintf("add table netdev %[1]s\nadd chain netdev %[1]s in_%[2]s { type filter hook ingress device %[2]s priority 0; policy drop; }\n", table, device)
}

// uplinkGuardScript is a guard with a gap: answers to the DHCP client that goes on at the uplink.
// Most clients read by sockets that come after the guard.
func uplinkGuardScript(table, device string) string {
	return guardScript(table, device) + fmt.Sprintf("flush chain netdev %[1]s in_%[2]s\nadd rule netdev %[1]s in_%[2]s udp sport 67 udp dport 68 accept\n", table, device)
}

// unguardScript removes the chain: it is added first, because to delete what is absent is an error.
func unguardScript(table, device string) string {
	return fmt.Sprintf("add table netdev %[1]s\nadd chain netdev %[1]s in_%[2]s\ndelete chain netdev %[1]s in_%[2]s\n", table, device)
}

// outsideScript translates what leaves the virtual networks, and keeps the VMs in them from the host
// itself (they may ping it) and from each other by way of it. TCP is told of the largest packet
// also where a VM does not know it,, and where ICMP is lost on the way.
func outsideScript(table, device, cidr string, mtu int, open []int) string {
	p := netip.MustParsePrefix(cidr).Masked()
	var allow strings.Builder
	for _, port := range open {
		fmt.Fprintf(&allow, "		tcp dport %d accept\n", port)
	}
	return fmt.Sprintf(`add table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
	chain leave {
		type nat hook postrouting priority srcnat;
		ip saddr %[3]s oifname != "%[2]s" masquerade
	}
	chain pass {
		type filter hook forward priority 0;
		iifname "%[2]s" oifname "%[2]s" drop
		iifname "%[2]s" tcp flags syn tcp option maxseg size > %[5]d tcp option maxseg size set %[5]d
		oifname "%[2]s" tcp flags syn tcp option maxseg size > %[5]d tcp option maxseg size set %[5]d
		oifname "%[2]s" ct state established,related accept
		oifname "%[2]s" drop
	}
	chain arrive {
		type filter hook input priority 0;
		iifname != "%[2]s" accept
		ct state established,related accept
		icmp type echo-request accept
%[4]s		drop
	}
}
`, table, device, p, allow.String(), mtu-40)
}

func dropTablesScript(table string) string {
	var out strings.Builder
	for _, family := range []string{"inet", "netdev"} {
		fmt.Fprintf(&out, "add table %[1]s %[2]s\ndelete table %[1]s %[2]s\n", family, table)
	}
	return out.String()
}
