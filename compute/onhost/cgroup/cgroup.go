// Package cgroup puts processes into control groups, version 1 or 2, whichever this host uses, and reads
// and sets what the groups may use.
//
// A group is named by its path below one slice, "pool-7f/vm-3a"; the empty name is the slice itself.
// It sees the mounts of its own process, whatever network namespace the caller's children enter.
// Where control groups cannot be used Probe says why, and a Groups of version None accepts every
// call and does nothing: a VM without them runs guests all the same, only without shares.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Version is the interface that the kernel offers.
type Version int

// The versions.
const (
	None Version = 0
	V1   Version = 1
	V2   Version = 2
)

// Root is where distributions mount them.
const Root = "/sys/fs/cgroup"

// The controllers that are used; without the first there is nothing to divide.
const (
	cpu     = "cpu"
	cpuacct = "cpuacct" // of version 1; in version 2 cpu counts too
	memory  = "memory"
)

// Groups makes groups below one slice.
type Groups struct {
	version Version
	dirs    map[string]string // controller -> folder of its mount; for version 2 all are the same
	slice   string
}

// Probe finds out what can be used below root, and says in words why it chose so.
func Probe(root string) (*Groups, string) {
	for _, dir := range []string{root, filepath.Join(root, "unified")} {
		controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err == nil && slices.Contains(strings.Fields(string(controllers)), cpu) {
			g := &Groups{version: V2, dirs: map[string]string{cpu: dir, memory: dir}}
			return g.tried("version 2 at " + dir)
		}
	}
	g := &Groups{version: V1, dirs: map[string]string{}}
	for _, controller := range []string{cpu, cpuacct, memory} {
		dir := filepath.Join(root, controller)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			g.dirs[controller] = dir
		}
	}
	if g.dirs[cpu] == "" {
		return &Groups{}, "no control group with the cpu controller is mounted below " + root
	}
	return g.tried("version 1 at " + g.dirs[cpu])
}

// tried makes and removes a group: a folder that can be read may still be read-only.
func (g *Groups) tried(why string) (*Groups, string) {
	probe := g.Slice(fmt.Sprintf("virga-probe-%d", os.Getpid()))
	err := probe.Ensure("")
	if removeErr := probe.Remove(""); err == nil {
		err = removeErr
	}
	if err != nil {
		return &Groups{}, "control groups cannot be made: " + err.Error()
	}
	return g, why
}

// Slice gives the groups below a slice, which the first of them makes.
func (g *Groups) Slice(name string) *Groups {
	return &Groups{version: g.version, dirs: g.dirs, slice: name}
}

// Version is what is used.
func (g *Groups) Version() Version { return g.version }

// path is the folder of a group; empty where the controller is not there.
func (g *Groups) path(controller, name string) string {
	if g.dirs[controller] == "" {
		return ""
	}
	return filepath.Join(g.dirs[controller], g.slice, name)
}

// Ensure makes the group and all above it.
func (g *Groups) Ensure(name string) error {
	for _, controller := range g.controllers() {
		dir := g.dirs[controller]
		for _, step := range strings.Split(filepath.Join(g.slice, name), "/") {
			if g.version == V2 {
				// Without this a group has no cpu.weight. Memory is a bonus.
				for _, c := range []string{cpu, memory} {
					if err := write(filepath.Join(dir, "cgroup.subtree_control"), "+"+c); err != nil && c == cpu {
						return err
					}
				}
			}
			dir = filepath.Join(dir, step)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("make the control group: %w", err)
			}
		}
	}
	return nil
}

// AddPID puts a whole process into the group, out of whichever it was in.
func (g *Groups) AddPID(name string, pid int) error {
	for _, controller := range g.controllers() {
		if err := write(filepath.Join(g.path(controller, name), "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// Remove takes the group away with all below it; one that is not there is no error. A process that has
// just ended keeps its group busy for a moment.
func (g *Groups) Remove(name string) error {
	below, err := g.List(name)
	if err != nil {
		return err
	}
	slices.Reverse(below) // the deepest first
	for _, each := range append(below, name) {
		for _, controller := range g.controllers() {
			if err := rmdir(g.path(controller, each)); err != nil {
				return err
			}
		}
	}
	return nil
}

func rmdir(path string) error {
	err := syscall.Rmdir(path)
	for range 20 {
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(10 * time.Millisecond)
		err = syscall.Rmdir(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the control group %s: %w", path, err)
	}
	return nil
}

// List names all groups below one, each after the one that holds it. Without the group there are none.
func (g *Groups) List(name string) ([]string, error) {
	var out []string
	for _, controller := range g.controllers() {
		top := g.path(controller, name)
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() && path != top {
				below, _ := filepath.Rel(top, path)
				out = append(out, filepath.Join(name, below))
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it went while we walked
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list control groups: %w", err)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// controllers lists those that are there, one for each folder, in a fixed order.
func (g *Groups) controllers() []string {
	var out []string
	for _, c := range []string{cpu, cpuacct, memory} {
		dir := g.dirs[c]
		if dir != "" && !slices.ContainsFunc(out, func(o string) bool { return g.dirs[o] == dir }) {
			out = append(out, c)
		}
	}
	return out
}

func write(file, value string) error {
	if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
		return fmt.Errorf("write %q to the control group: %w", value, err)
	}
	return nil
}
