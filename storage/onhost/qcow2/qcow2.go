// Package qcow2 speaks to qemu-img.
//
// Whoever runs it on a file that a stranger could have written judges the file first, and runs it
// as a user without rights.
//
// Every call names the format: nothing is ever guessed from content, because content may come
// from a stranger. Paths are absolute, so that no name can be read as a protocol. A call dies
// with its context, together with all that it started. Errors say in words what went wrong.
//
// It knows nothing of this project and may be used by any program.
package qcow2

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// The formats.
const (
	QCOW2 = "qcow2"
	Raw   = "raw"
	VMDK  = "vmdk"
	VHDX  = "vhdx"
	VPC   = "vpc"
)

// layout is how every qcow2 file of ours is laid out: sub-clusters keep copies on write small.
const layout = "extended_l2=on,cluster_size=128k"

// Tool is qemu-img. The zero value runs the one in PATH with the caller's rights.
type Tool struct {
	// Binary is the program; empty: qemu-img.
	Binary string
	// As is the user to run as; nil: the caller. Files are then opened by the caller, through no link, and
	// handed over; the network is out of reach.
	As *User
	// MemoryMiB limits the address space, CPUSeconds the processor time; 0: no limit.
	MemoryMiB  int64
	CPUSeconds int64
}

// User is a user without rights. The files that it is given must be readable by it.
type User struct{ UID, GID uint32 }

// File is a disk in a file.
type File struct {
	Path   string // absolute
	Format string
}

// Info is what a file says of itself.
type Info struct {
	Format      string `json:"format"`
	VirtualSize int64  `json:"virtual-size"` // bytes
	ActualSize  int64  `json:"actual-size"`  // bytes
	ClusterSize int64  `json:"cluster-size"` // bytes
	Encrypted   bool   `json:"encrypted"`
	Backing     string `json:"backing-filename"`
	FullBacking string `json:"full-backing-filename"`
	BackingType string `json:"backing-filename-format"`
	Dirty       bool   `json:"dirty-flag"`
}

// Create makes a thin disk of size bytes; with a backing file it starts with that file's content.
// The backing file is not opened: the caller has judged it.
func (t Tool) Create(ctx context.Context, path string, size int64, backing *File) error {
	args := []string{"create", "-q", "-f", QCOW2, "-o", layout}
	if backing != nil {
		if !filepath.IsAbs(backing.Path) || backing.Format == "" {
			return &Error{Doing: "create " + path, Why: "the backing file needs an absolute path and a format"}
		}
		args = append(args, "-u", "-b", backing.Path, "-F", backing.Format)
	}
	args = append(args, path, strconv.FormatInt(size, 10))
	_, err := t.run(ctx, call{doing: "create " + path, args: args, paths: []string{path}})
	return err
}

// Info reads what a file says of itself. It does not open the backing file. It may be called
// while the disk is in use.
func (t Tool) Info(ctx context.Context, f File) (Info, error) {
	out, err := t.run(ctx, call{doing: "read " + f.Path,
		args: []string{"info", "-U", "--output=json", "-f", f.Format, f.Path}, paths: []string{f.Path}, readOnly: 1})
	if err != nil {
		return Info{}, err
	}
	var info Info
	if err := json.Unmarshal(out, &info); err != nil {
		return Info{}, &Error{Doing: "read " + f.Path, Why: "qemu-img answers no JSON: " + err.Error()}
	}
	return info, nil
}

// Resize gives a disk a new size in bytes; it never shrinks.
func (t Tool) Resize(ctx context.Context, f File, size int64) error {
	_, err := t.run(ctx, call{doing: "resize " + f.Path,
		args: []string{"resize", "-q", "-f", f.Format, f.Path, strconv.FormatInt(size, 10)}, paths: []string{f.Path}})
	return err
}

// Rebase lets a disk build on another file, or on none, and pulls into it what its content needs of those
// that it built on before. It is killed at any moment, and the content is the same.
func (t Tool) Rebase(ctx context.Context, f File, backing *File) error {
	args := []string{"rebase", "-q", "-f", f.Format, "-b", ""}
	if backing != nil {
		args = []string{"rebase", "-q", "-f", f.Format, "-b", backing.Path, "-F", backing.Format}
	}
	_, err := t.run(ctx, call{doing: "rebase " + f.Path, args: append(args, f.Path), paths: []string{f.Path}})
	return err
}

// Check looks for damage in a qcow2 file; leaked clusters, which only cost space, are no damage. It
// returns where the content ends in the file, in bytes: a file that is shorter is cut off, and
// would be read as zeros there.
func (t Tool) Check(ctx context.Context, f File) (end int64, err error) {
	out, err := t.run(ctx, call{doing: "check " + f.Path, args: []string{"check", "-U", "--output=json", "-f", f.Format, f.Path},
		paths: []string{f.Path}, readOnly: 1, fine: []int{3}})
	if err != nil {
		return 0, err
	}
	var c struct {
		End int64 `json:"image-end-offset"`
	}
	if err := json.Unmarshal(out, &c); err != nil {
		return 0, &Error{Doing: "check " + f.Path, Why: "qemu-img answers no JSON: " + err.Error()}
	}
	return c.End, nil
}

// Measure says how many bytes a qcow2 copy of the disk takes now, and at most.
func (t Tool) Measure(ctx context.Context, f File) (required, most int64, err error) {
	out, err := t.run(ctx, call{doing: "measure " + f.Path,
		args: []string{"measure", "-U", "--output=json", "-f", f.Format, "-O", QCOW2, "-o", layout, f.Path}, paths: []string{f.Path}, readOnly: 1})
	if err != nil {
		return 0, 0, err
	}
	var m struct {
		Required int64 `json:"required"`
		Most     int64 `json:"fully-allocated"`
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return 0, 0, &Error{Doing: "measure " + f.Path, Why: "qemu-img answers no JSON: " + err.Error()}
	}
	return m.Required, m.Most, nil
}

// Convert writes a standalone qcow2 file with the disk's content. Progress, if set, is told
// percents as they rise; it must not block.
func (t Tool) Convert(ctx context.Context, from File, to string, progress func(percent int)) error {
	c := conversion(from, to)
	if progress != nil {
		c.output = &percents{tell: progress, last: -1}
	}
	_, err := t.run(ctx, c)
	return err
}

func conversion(from File, to string) call {
	return call{doing: "convert " + from.Path, paths: []string{from.Path, to}, readOnly: 1,
		args: []string{"convert", "-p", "-f", from.Format, "-O", QCOW2, "-o", layout, from.Path, to}}
}

// ConvertProgram is Convert as a program that outlives the caller, who starts it: it says percents on its
// output (Percent reads them), and what is wrong on its errors (Failure makes words of it). Started is
// called when it has begun, or could not.
func (t Tool) ConvertProgram(from File, to string) (cmd *exec.Cmd, started func(), err error) {
	cmd, files, err := t.command(context.Background(), conversion(from, to))
	return cmd, func() { closeAll(files) }, err
}

// Percent reads how far a program is from what it said.
func Percent(said string) (percent int) {
	_, _ = (&percents{tell: func(p int) { percent = p }, last: -1}).Write([]byte(said))
	return percent
}

// Failure makes words of what a program said that ended with a status.
func Failure(doing, said string, status int) error {
	return explain(doing, said, fmt.Errorf("qemu-img ended with status %d", status))
}

// Error says what was being done and why it failed.
type Error struct {
	Doing   string
	Why     string
	NoSpace bool  // the disk below is full
	InUse   bool  // another process has the file open
	Cause   error // the context's, when that ended the call
}

func (e *Error) Error() string { return e.Doing + ": " + e.Why }

// Unwrap gives the context's error when that ended the call.
func (e *Error) Unwrap() error { return e.Cause }

// explain makes words of what qemu-img said.
func explain(doing, said string, err error) *Error {
	said = strings.Join(strings.Fields(said), " ")
	said = strings.TrimPrefix(said, "qemu-img: ")
	if said == "" {
		said = err.Error()
	}
	e := &Error{Doing: doing, Why: said}
	switch {
	case strings.Contains(said, "No space left on device"):
		e.NoSpace, e.Why = true, "no space is left where it lies"
	case strings.Contains(said, "Failed to get") && strings.Contains(said, "lock"):
		e.InUse, e.Why = true, "another process has it open"
	}
	return e
}

// percents reads qemu-img's progress: "    (12.34/100%)\r".
type percents struct {
	tell func(int)
	rest string
	last int
}

func (p *percents) Write(data []byte) (int, error) {
	p.rest += string(data)
	for {
		_, after, found := strings.Cut(p.rest, "(")
		figure, next, complete := strings.Cut(after, "/100%)")
		if !found || !complete {
			break
		}
		p.rest = next
		var whole float64
		if _, err := fmt.Sscanf(figure, "%f", &whole); err == nil && int(whole) > p.last {
			p.last = int(whole)
			p.tell(p.last)
		}
	}
	if len(p.rest) > 4096 {
		p.rest = p.rest[len(p.rest)-64:]
	}
	return len(data), nil
}
