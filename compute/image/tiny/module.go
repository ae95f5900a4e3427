package tiny

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// wanted are the drivers that the guest has, with what they depend on.
var wanted = []string{"virtio_pci", "virtio_blk", "virtio_net", "virtio_balloon", "virtio_mem", "virtio_console", "virtio-rng",
	"virtio_scsi", "sd_mod", "sr_mod", "isofs", "button", "evdev", "qemu_fw_cfg"}

// module is a kernel module with what its own file says of it.
type module struct {
	name    string
	file    string
	depends []string
	aliases []string
}

// pickModules finds the wanted modules and all they depend on, dependencies first. What is built
// into the kernel, and so has no file, is left out.
func pickModules(folder string) ([]module, error) {
	files := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".ko") {
			files[plain(strings.TrimSuffix(e.Name(), ".ko"))] = path
		}
		return err
	})
	if err != nil {
		return nil, fault.New(fault.Internal, "look for kernel modules: %w", err)
	}
	var out []module
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = plain(name)
		if seen[name] || files[name] == "" {
			return nil
		}
		seen[name] = true
		m, err := readModule(name, files[name])
		if err != nil {
			return err
		}
		for _, d := range m.depends {
			if err := visit(d); err != nil {
				return err
			}
		}
		out = append(out, m)
		return nil
	}
	for _, name := range wanted {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Internal, "look for kernel modules: none of the wanted ones is in the package")
	}
	return out, nil
}

func readModule(name, file string) (module, error) {
	m := module{name: name, file: file}
	f, err := elf.Open(file)
	if err != nil {
		return m, fault.New(fault.Internal, "read kernel module %s: %w", name, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return m, fault.New(fault.Internal, "read kernel module %s: it says nothing of itself", name)
	}
	data, err := section.Data()
	if err != nil {
		return m, fault.New(fault.Internal, "read kernel module %s: %w", name, err)
	}
	for field := range bytes.SplitSeq(data, []byte{0}) {
		key, value, _ := strings.Cut(string(field), "=")
		switch {
		case key == "depends" && value != "":
			m.depends = strings.Split(value, ",")
		case key == "alias":
			m.aliases = append(m.aliases, value)
		}
	}
	return m, nil
}

// tables are what modprobe reads: modules.dep and modules.alias. Files lie flat in one folder.
func tables(modules []module) (dep, alias string) {
	byName := map[string]module{}
	for _, m := range modules {
		byName[m.name] = m
	}
	var deps, aliases strings.Builder
	for _, m := range modules {
		var needs []string
		closure(byName, m, map[string]bool{m.name: true}, &needs)
		fmt.Fprintf(&deps, "%s.ko:", m.name)
		for _, n := range needs {
			fmt.Fprintf(&deps, " %s.ko", n)
		}
		deps.WriteString("\n")
		for _, a := range m.aliases {
			fmt.Fprintf(&aliases, "alias %s %s\n", a, m.name)
		}
	}
	return deps.String(), aliases.String()
}

// closure lists all that m needs, what is needed last first, as depmod does.
func closure(all map[string]module, m module, seen map[string]bool, out *[]string) {
	names := append([]string(nil), m.depends...)
	sort.Strings(names)
	for _, name := range names {
		name = plain(name)
		if d, ok := all[name]; ok && !seen[name] {
			seen[name] = true
			*out = append(*out, name)
			closure(all, d, seen, out)
		}
	}
}

// plain is a module's name as the kernel writes it.
func plain(name string) string { return strings.ReplaceAll(name, "-", "_") }

// static reports whether a program is there and needs no libraries.
func static(program string) bool {
	info, err := os.Stat(program)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := elf.Open(program)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}
