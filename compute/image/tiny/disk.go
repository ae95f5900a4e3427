package tiny

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"

	"github.com/virga-cloud/virga/compute/image/tool"
	"github.com/virga-cloud/virga/engine/fault"
)

// The disk: a boot record, a FAT partition to boot from, an ext4 partition for data. In MiB.
const (
	bootStart = 1
	bootSize  = 31
	dataStart = 32
	dataSize  = 95
	diskSize  = 128
)

const (
	sector       = 512
	perMiB       = 1 << 20 / sector
	typeFAT16    = 0x0e
	typeLinux    = 0x83
	activeMarker = 0x80
)

// append is the kernel's command line. What is switched off would cost seconds where instructions
// are translated in software, and protects nothing in a guest for tests.
const bootConfig = `DEFAULT virga
PROMPT 0
TIMEOUT 0
LABEL virga
  KERNEL /vmlinuz
  INITRD /initrd
  APPEND console=tty0 console=ttyS0 quiet panic=5 net.ifnames=0 mitigations=off nokaslr cryptomgr.notests tsc=reliable no_timer_check random.trust_cpu=on audit=0 memhp_default_state=online_movable
`

func writeDisk(ctx context.Context, raw, kernel, initrd string) error {
	if err := writeBootRecord(raw); err != nil {
		return err
	}
	config := filepath.Join(filepath.Dir(raw), "syslinux.cfg")
	if err := os.WriteFile(config, []byte(bootConfig), 0o644); err != nil {
		return fault.New(fault.Internal, "write the boot loader's configuration: %w", err)
	}
	offset := strconv.Itoa(bootStart << 20)
	part := raw + "@@" + offset
	mtools := []string{"MTOOLS_SKIP_CHECK=1", "MTOOLSRC=/dev/null"}
	sectors := strconv.Itoa(bootSize * perMiB)
	dataOffset := strconv.Itoa(dataStart << 20)
	steps := []tool.Command{
		{Name: "mformat", Env: mtools, Args: []string{"-i", part, "-T", sectors, "-h", "255", "-s", "63", "-H", strconv.Itoa(bootStart * perMiB), "-c", "16", "-v", "BOOT", "::"}},
		{Name: "mcopy", Env: mtools, Args: []string{"-i", part, kernel, "::vmlinuz"}},
		{Name: "mcopy", Env: mtools, Args: []string{"-i", part, initrd, "::initrd"}},
		{Name: "mcopy", Env: mtools, Args: []string{"-i", part, config, "::syslinux.cfg"}},
		{Name: "syslinux", Args: []string{"--install", "--offset", offset, raw}},
		{Name: "mke2fs", Args: []string{"-q", "-F", "-t", "ext4", "-L", "data", "-m", "0", "-E",
			"offset=" + dataOffset + ",lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0", raw, strconv.Itoa(dataSize<<10) + "k"}},
	}
	for _, step := range steps {
		if _, err := step.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// writeBootRecord makes the empty disk with boot code and partition table.
func writeBootRecord(raw string) error {
	code, err := bootCode()
	if err != nil {
		return err
	}
	record := make([]byte, sector)
	copy(record[:440], code)
	binary.LittleEndian.PutUint32(record[440:], 0x61677276)
	entry(record[446:], activeMarker, typeFAT16, bootStart, bootSize)
	entry(record[462:], 0, typeLinux, dataStart, dataSize)
	record[510], record[511] = 0x55, 0xaa
	f, err := os.Create(raw)
	if err != nil {
		return fault.New(fault.Internal, "make the disk: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(record); err != nil {
		return fault.New(fault.Internal, "write the boot record: %w", err)
	}
	if err := f.Truncate(diskSize << 20); err != nil {
		return fault.New(fault.Internal, "make the disk: %w", err)
	}
	return f.Close()
}

// entry writes one line of the partition table; start and size in MiB.
func entry(b []byte, active, kind byte, start, size uint32) {
	b[0], b[4] = active, kind
	copy(b[1:4], []byte{0xfe, 0xff, 0xff}) // too far for cylinders: the sector numbers count
	copy(b[5:8], []byte{0xfe, 0xff, 0xff})
	binary.LittleEndian.PutUint32(b[8:], start*perMiB)
	binary.LittleEndian.PutUint32(b[12:], size*perMiB)
}

func bootCode() ([]byte, error) {
	for _, file := range []string{"/usr/lib/syslinux/mbr/mbr.bin", "/usr/lib/EXTLINUX/mbr.bin"} {
		if code, err := os.ReadFile(file); err == nil && len(code) <= 440 {
			return code, nil
		}
	}
	return nil, fault.New(fault.Precondition, "find the boot loader's mbr.bin: install package syslinux-common")
}
