package debian

import (
	"os"
	"path/filepath"

	"github.com/virga-cloud/virga/engine/fault"
)

const sources = `deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
`

const bootConfig = `DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
  KERNEL /boot/@kernel@
  INITRD /boot/@initrd@
  APPEND root=LABEL=root ro console=tty0 console=ttyS0 net.ifnames=0 quiet memhp_default_state=online_movable
`

// languages keeps translations of package descriptions away.
const languages = `Acquire::Languages "none";`

// files are what makes the installed system a cloud image.
var files = map[string]string{
	"etc/fstab":      "LABEL=root / ext4 errors=remount-ro,discard 0 1\n",
	"etc/hostname":   "debian\n",
	"etc/machine-id": "",
	// of what mmdebstrap was told, this is for the guest too
	"etc/apt/apt.conf.d/99mmdebstrap": languages + "\n",
	"etc/hosts":                       "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
	// where a VM learns what it is: a seed disk, else the metadata service, else nowhere
	"etc/cloud/cloud.cfg.d/90_virga.cfg": `datasource_list: [ NoCloud, Ec2, None ]
datasource:
  Ec2:
    metadata_urls: [ "http://169.254.169.254" ]
    strict_id: false
    max_wait: 10
    timeout: 3
growpart:
  mode: auto
  devices: [ "/" ]
resize_rootfs: true
`,
	// newer kernels and initial RAM disks are booted, too, after an upgrade in the guest
	"etc/kernel/postinst.d/zz-virga-boot": `#!/bin/sh
set -e
kernel=$(ls /boot/vmlinuz-* | sort -V | tail -n 1)
initrd=$(ls /boot/initrd.img-* | sort -V | tail -n 1)
[ -n "$kernel" ] && [ -n "$initrd" ] || exit 0
sed -i "s,KERNEL .*,KERNEL $kernel,; s,INITRD .*,INITRD $initrd," /boot/extlinux/extlinux.conf
`,
}

func writeFiles(root string) error {
	for name, text := range files {
		path := filepath.Join(root, name)
		mode := os.FileMode(0o644)
		if len(text) > 2 && text[:2] == "#!" {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fault.New(fault.Internal, "write %s: %w", name, err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return fault.New(fault.Internal, "write %s: %w", name, err)
		}
	}
	return nil
}
