package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

// Importer makes blobs of what strangers send.
type Importer struct {
	// Blobs keeps what was made.
	Blobs *Blobs
	// Tool is qemu-img, to be run as a user without rights.
	Tool qcow2.Tool
	// MaxVirtualMiB is the largest disk that is taken; 0: 2 TiB.
	MaxVirtualMiB int64
}

// Options of one import.
type Options struct {
	// Checksum is what the file must have, "sha256:" or "sha512:" and hex; empty: anything.
	Checksum string
	// Tell is told percents of the conversion; nil: nobody.
	Tell func(percent int)
}

// Result is what became of it.
type Result struct {
	SourceFormat string
	Disks        []Kept
}

// Kept is one disk in the store of images.
type Kept struct {
	Name         string `json:"name,omitempty"` // in the archive that it came in
	Digest       string `json:"digest"`
	Bytes        int64  `json:"bytes"`
	VirtualBytes int64  `json:"virtualBytes"`
}

// Examined is what a file turned out to be.
type Examined struct {
	// Format is how it came: qcow2, raw, vmdk, vhdx, vpc, ova.
	Format string `json:"format"`
	// Disks are those in it, the one that boots first.
	Disks []ExaminedDisk `json:"disks"`
	// LeftOut are the files of an OVA that are no disk: a CD, settings of a firmware.
	LeftOut []string `json:"leftOut,omitempty"`
}

// ExaminedDisk is one disk, judged.
type ExaminedDisk struct {
	Name string `json:"name,omitempty"`
	// File has it: the staged one, or what was unpacked of it.
	File   string `json:"file"`
	Format string `json:"format"`
	// VirtualBytes is the size of the disk.
	VirtualBytes int64 `json:"virtualBytes"`
}

// Import makes blobs of a file. The file and what is made beside it are gone afterwards, whatever
// happens.
func (im *Importer) Import(ctx context.Context, file string, o Options) (Result, error) {
	defer func() {
		made, _ := filepath.Glob(file + ".*")
		for _, f := range append(made, file) {
			_ = os.Remove(f)
		}
	}()
	e, err := im.Examine(ctx, file, o)
	if err != nil {
		return Result{}, err
	}
	kept, err := im.Keep(ctx, e, file, o)
	return Result{SourceFormat: named(e.Format), Disks: kept}, err
}

// Keep converts the disks, unless that is done, and moves them into the store. It may be called again
// when the process died within it: what was moved is made anew.
func (im *Importer) Keep(ctx context.Context, e Examined, file string, o Options) ([]Kept, error) {
	var out []Kept
	for i, d := range e.Disks {
		to := fmt.Sprintf("%s.%s.%d", file, converted, i)
		if _, err := os.Lstat(to); err != nil {
			if err := im.Convert(ctx, d, to, o.part(i, len(e.Disks))); err != nil {
				return nil, err
			}
		}
		digest, size, err := im.Blobs.keep(ctx, to)
		if err != nil {
			return nil, err
		}
		out = append(out, Kept{d.Name, digest, size, d.VirtualBytes})
	}
	return out, nil
}

// part tells the percents of one disk as those of all.
func (o Options) part(i, n int) Options {
	tell := o.Tell
	if tell != nil && n > 1 {
		o.Tell = func(percent int) { tell((100*i + percent) / n) }
	}
	return o
}

// Examine finds out what a file is, and refuses what is wrong or hostile.
func (im *Importer) Examine(ctx context.Context, file string, o Options) (Examined, error) {
	if o.Checksum != "" {
		if err := compare(ctx, file, o.Checksum); err != nil {
			return Examined{}, err
		}
	}
	by, err := packedBy(file)
	if err != nil {
		return Examined{}, err
	}
	if by != "" {
		if err := im.unpack(ctx, file, file+".plain", by); err != nil {
			return Examined{}, err
		}
		file += ".plain"
	}
	format, size, err := look(file)
	if err != nil {
		return Examined{}, err
	}
	if format != ova {
		d, err := im.judged(ctx, ExaminedDisk{File: file, Format: format, VirtualBytes: size})
		return Examined{Format: format, Disks: []ExaminedDisk{d}}, err
	}
	disks, leftOut, err := im.unpackOVA(ctx, file, file+".disk")
	if err != nil {
		return Examined{}, err
	}
	e := Examined{Format: ova, LeftOut: leftOut}
	for i, disk := range disks {
		d := ExaminedDisk{Name: disk.Name, File: fmt.Sprintf("%s.disk.%d", file, i)}
		if d.Format, d.VirtualBytes, err = look(d.File); err == nil && d.Format == ova {
			err = fault.New(fault.Invalid, "what came is an archive in an archive")
		}
		if err == nil {
			d, err = im.judged(ctx, d)
		}
		if err != nil {
			return Examined{}, fault.Wrap(err, "disk %q in the OVA", short(disk.Name))
		}
		e.Disks = append(e.Disks, d)
	}
	return e, nil
}

// judged asks qemu-img too, after our own reading: its second opinion, and the true size.
func (im *Importer) judged(ctx context.Context, d ExaminedDisk) (ExaminedDisk, error) {
	if err := im.limit(d.VirtualBytes); err != nil {
		return d, err
	}
	info, err := im.Tool.Info(ctx, qcow2.File{Path: d.File, Format: d.Format})
	if err != nil {
		return d, readable(err)
	}
	if info.Backing != "" || info.FullBacking != "" || info.Encrypted {
		return d, fault.New(fault.Invalid, "what came builds on another file or is encrypted")
	}
	if err := im.whole(ctx, d, info); err != nil {
		return d, err
	}
	d.VirtualBytes = info.VirtualSize
	if d.VirtualBytes == 0 {
		return d, fault.New(fault.Invalid, "what came says it is a disk of no size")
	}
	return d, im.limit(d.VirtualBytes)
}

// whole finds a qcow2 file that is damaged or cut off: what is missing would be read as zeros.
func (im *Importer) whole(ctx context.Context, e ExaminedDisk, info qcow2.Info) error {
	if e.Format != qcow2.QCOW2 {
		return nil
	}
	end, err := im.Tool.Check(ctx, qcow2.File{Path: e.File, Format: qcow2.QCOW2})
	if err != nil {
		return readable(err)
	}
	f, size, err := openSized(e.File)
	if err != nil {
		return err
	}
	defer f.Close()
	if end-size >= info.ClusterSize {
		return fault.New(fault.Invalid, "what came is damaged, or cut off: it has %d bytes, and its content ends at %d; fetch it again", size, end)
	}
	return nil
}

func look(file string) (format string, size int64, err error) {
	f, length, err := openSized(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	if format, err = detect(f, length); err != nil || format == ova {
		return format, 0, err
	}
	size, err = judge(f, length, format)
	return format, size, err
}

func (im *Importer) limit(size int64) error {
	if most := im.most(); size > most || size < 0 {
		return fault.New(fault.Invalid, "what came says it is a disk of %d MiB; at most %d are taken", size/mib, most/mib)
	}
	return nil
}

// most is the size of the largest disk, in bytes.
func (im *Importer) most() int64 {
	if im.MaxVirtualMiB == 0 {
		return 2 << 40
	}
	return im.MaxVirtualMiB * mib
}

// Convert writes the disk as a standalone qcow2 file. What it will take is compared with what is
// free before anything is written.
func (im *Importer) Convert(ctx context.Context, e ExaminedDisk, to string, o Options) error {
	if err := im.room(ctx, e, to); err != nil {
		return err
	}
	_ = os.Remove(to)
	if err := im.Tool.Convert(ctx, qcow2.File{Path: e.File, Format: e.Format}, to, o.Tell); err != nil {
		_ = os.Remove(to)
		return readable(err)
	}
	return standalone(to)
}

// room compares what a disk will take with what is free where it goes.
func (im *Importer) room(ctx context.Context, e ExaminedDisk, to string) error {
	from := qcow2.File{Path: e.File, Format: e.Format}
	need := e.VirtualBytes
	if required, _, err := im.Tool.Measure(ctx, from); err == nil {
		need = required
	} else if e.Format == qcow2.QCOW2 || e.Format == qcow2.Raw {
		return readable(err) // these it can measure, if they are whole
	}
	return enough(to, need)
}

// standalone refuses a converted file that needs another one.
func standalone(file string) error {
	f, _, err := openSized(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := judgeQCOW2(f); err != nil {
		return fault.New(fault.Internal, "the converted image is not standalone: %w", err)
	}
	return nil
}

// readable gives what qemu-img said its kind.
func readable(err error) error {
	e, ok := errors.AsType[*qcow2.Error](err)
	switch {
	case !ok:
		return err
	case e.NoSpace:
		return fault.New(fault.Exhausted, "convert the image: no space is left on the server")
	case e.Cause != nil:
		return fault.New(fault.Unavailable, "convert the image: %w", err)
	}
	reason := lastPart(e.Why)
	if len(e.Why) > 500 { // a list of all that is wrong
		reason = "many errors"
	}
	return fault.New(fault.Invalid, "what came cannot be read: it is damaged, or cut off (qemu-img: %s); fetch it again", short(reason))
}

// lastPart leaves out the paths that qemu-img puts before its reasons, and of a list of damages all but the first.
func lastPart(said string) string {
	if damages, list := strings.CutPrefix(said, "ERROR: "); list {
		first, _, _ := strings.Cut(damages, " ERROR: ")
		return first
	}
	for i := len(said) - 2; i > 0; i-- {
		if said[i] == ':' && said[i+1] == ' ' {
			return said[i+2:]
		}
	}
	return said
}

func inMiB(bytes int64) int64 { return (bytes + mib - 1) / mib }

// named is a format as people know it.
func named(format string) string {
	if format == qcow2.VPC {
		return "vhd"
	}
	return format
}
