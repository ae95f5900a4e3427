package compute

import "testing"

func TestOnlyAPublicKeyIsTakenForOne(t *testing.T) {
	const ed = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	for line, want := range map[string]bool{
		ed:                                  true,
		ed + " me@home":                     true,
		`from="10.0.0.0/8",no-pty ` + ed:    true,
		"ssh-rsa" + ed[len("ssh-ed25519"):]: false,
		ed[:40]:                             false,
		"ssh-ed25519":                       false,
		"hello world":                       false,
		"root:x:0:0:root:/root:/bin/bash":   false,
		ed + "\n" + ed:                      false,
		"":                                  false,
		"ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIG5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5uAAAAIGtra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tr": false, // sshd takes no certificate as a key
	} {
		if got := isPublicKey(line); got != want {
			t.Errorf("isPublicKey(%q) is %v", line, got)
		}
	}
}
