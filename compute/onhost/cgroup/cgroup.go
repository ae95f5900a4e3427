// Package cgroup puts processes into control groups, version 1 or 2, whichever this host uses.
//
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
	"sort"
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

// Groups makes groups below one root.
type Groups struct {
	version Version
	dirs    map[string]string // controller -> folder; for version 2 all are the same
}

// Probe finds out what can be used below root, and says in words why it chose so.
func Probe(root string) (*Groups, string) {
	for _, dir := range []string{root, filepath.Join(root, "unified")} {
		controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err == nil && has(string(controllers), "cpu") {
			g := &Groups{version: V2, dirs: map[string]string{"cpu": dir, "memory": dir}}
			return g.tried("version 2 at " + dir)
		}
	}
	g := &Groups{version: V1, dirs: map[string]string{}}
	for _, controller := range []string{"cpu", "memory"} {
		dir := filepath.Join(root, controller)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			g.dirs[controller] = dir
		}
	}
	if g.dirs["cpu"] == "" {
		return &Groups{}, "no control group with the cpu controller is mounted below " + root
	}
	return g.tried("version 1 at " + g.dirs["cpu"])
}

// tried makes and removes a group: a folder that can be read may still be read-only.
func (g *Groups) tried(why string) (*Groups, string) {
	name := fmt.Sprintf("virga-probe-%d", os.Getpid())
	err := g.Ensure(name)
	if removeErr := g.Remove(name); err == nil {
		err = removeErr
	}
	if err != nil {
		return &Groups{}, "control groups cannot be made: " + err.Error()
	}
	return g, why
}

func has(words, word string) bool {
	for _, w := range strings.Fields(words) {
		if w == word {
			return true
		}
	}
	return false
}

// Version is what is used.
func (g *Groups) Version() Version { return g.version }

// Ensure makes the group.
func (g *Groups) Ensure(name string) error {
	for controller, dir := range g.dirs {
		if g.version == V2 {
			// Without this the group has no cpu.weight. Memory is a bonus.
			if err := write(dir, "cgroup.subtree_control", "+"+controller); err != nil && controller == "cpu" {
				return err
			}
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the control group: %w", err)
		}
	}
	return nil
}

// AddPID puts a whole process into the group.
func (g *Groups) AddPID(name string, pid int) error {
	for _, dir := range g.each() {
		if err := write(filepath.Join(dir, name), "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// SetCPUWeight gives the group its part of the processors where they are short: 1 to 10000, only
// the ratio between groups counts. Version 1 takes ten times the number, which keeps the ratios.
func (g *Groups) SetCPUWeight(name string, weight int64) error {
	weight = min(max(weight, 1), 10_000)
	switch g.version {
	case V1:
		return write(filepath.Join(g.dirs["cpu"], name), "cpu.shares", strconv.FormatInt(10*weight, 10))
	case V2:
		return write(filepath.Join(g.dirs["cpu"], name), "cpu.weight", strconv.FormatInt(weight, 10))
	}
	return nil
}

// SetMemoryLimit bounds the group's memory in bytes; 0 takes the bound away.
func (g *Groups) SetMemoryLimit(name string, limit int64) error {
	dir, file, value := g.dirs["memory"], "memory.max", "max"
	if g.version == V1 {
		file, value = "memory.limit_in_bytes", "-1"
	}
	if g.version == None || dir == "" {
		return nil
	}
	if limit > 0 {
		value = strconv.FormatInt(limit, 10)
	}
	return write(filepath.Join(dir, name), file, value)
}

// Remove takes the group away; one that is not there is no error. A process that has just ended
// keeps its group busy for a moment.
func (g *Groups) Remove(name string) error {
	for _, dir := range g.each() {
		path := filepath.Join(dir, name)
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
	}
	return nil
}

// List names the groups that begin with prefix.
func (g *Groups) List(prefix string) ([]string, error) {
	found := map[string]bool{}
	for _, dir := range g.each() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("list control groups: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() && strings.HasPrefix(e.Name(), prefix) {
				found[e.Name()] = true
			}
		}
	}
	out := make([]string, 0, len(found))
	for name := range found {
		out = append(out, name)
	}
	sort.Strings(out)
	return out, nil
}

// each lists the folders without doubles, in a fixed order.
func (g *Groups) each() []string {
	var out []string
	for _, controller := range []string{"cpu", "memory"} {
		if dir := g.dirs[controller]; dir != "" && (len(out) == 0 || out[0] != dir) {
			out = append(out, dir)
		}
	}
	return out
}

func write(dir, file, value string) error {
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644); err != nil {
		return fmt.Errorf("write %q to the control group: %w", value, err)
	}
	return nil
}
