package tiny

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/virga-cloud/virga/engine/fault"
)

// writeInitrd writes the initial RAM disk: a cpio archive in the kernel's "newc" form, not
// compressed, because unpacking costs the guest more time than reading.
func writeInitrd(out, busybox, modules string) error {
	picked, err := pickModules(modules)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return fault.New(fault.Internal, "make the initial RAM disk: %w", err)
	}
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<20)
	c := &cpio{w: buffered}
	for _, d := range []string{"bin", "dev", "etc", "etc/acpi", "etc/acpi/PWRF", "lib", "lib/modules", "proc", "root", "run", "sys", "tmp", "data", "var", "var/log"} {
		c.add(d, 0o040755, nil)
	}
	c.addFile("bin/busybox", 0o100755, busybox)
	c.add("bin/sh", 0o120777, []byte("busybox"))
	c.add("init", 0o120777, []byte("bin/busybox"))
	c.add("sbin", 0o120777, []byte("bin"))
	addGuest(c)
	addModules(c, "lib/modules/"+filepath.Base(modules), picked)
	c.add("TRAILER!!!", 0, nil)
	if c.err == nil {
		c.err = buffered.Flush()
	}
	if c.err != nil {
		return fault.New(fault.Internal, "make the initial RAM disk: %w", c.err)
	}
	return f.Close()
}

func addGuest(c *cpio) {
	for name, mode := range map[string]uint32{"inittab": 0o100644, "profile": 0o100644, "rc": 0o100755, "up": 0o100755,
		"lease": 0o100755, "name": 0o100755, "seed": 0o100755, "userdata": 0o100755, "hotplug": 0o100755} {
		data, err := guest.ReadFile("guest/" + name)
		if err != nil && c.err == nil {
			c.err = err
		}
		c.add("etc/"+name, mode, data)
	}
	power, _ := guest.ReadFile("guest/power")
	c.add("etc/acpi/PWRF/00000080", 0o100755, power)
}

func addModules(c *cpio, folder string, picked []module) {
	c.add(folder, 0o040755, nil)
	for _, m := range picked {
		c.addFile(folder+"/"+m.name+".ko", 0o100644, m.file)
	}
	dep, alias := tables(picked)
	c.add(folder+"/modules.dep", 0o100644, []byte(dep))
	c.add(folder+"/modules.alias", 0o100644, []byte(alias))
	for _, empty := range []string{"modules.symbols", "modules.builtin", "modules.order"} {
		c.add(folder+"/"+empty, 0o100644, nil)
	}
}

// cpio writes an archive; the first error stays.
type cpio struct {
	w     io.Writer
	inode int
	err   error
}

func (c *cpio) add(name string, mode uint32, data []byte) {
	if c.err != nil {
		return
	}
	c.inode++
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	for _, part := range [][]byte{[]byte(header), padding(len(header)), data, padding(len(data))} {
		if _, err := c.w.Write(part); err != nil {
			c.err = err
			return
		}
	}
}

func (c *cpio) addFile(name string, mode uint32, file string) {
	data, err := os.ReadFile(file)
	if err != nil && c.err == nil {
		c.err = err
	}
	c.add(name, mode, data)
}

// padding fills up to a multiple of four bytes.
func padding(n int) []byte { return make([]byte, (4-n%4)%4) }
