package image

import (
	"context"
	"errors"
	"os"
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
	// Checksum is what the file must have, "sha256:" and hex; empty: anything.
	Checksum string
	// Tell is told percents of the conversion; nil: nobody.
	Tell func(percent int)
}

// Result is what became of it. Sizes in MiB, rounded up.
type Result struct {
	SourceFormat        string
	Digest              string
	SizeMiB, VirtualMiB int64
}

// Examined is what a file turned out to be.
type Examined struct {
	// Format is how it came: qcow2, raw, vmdk, vhdx, vpc, ova.
	Format string `json:"format"`
	// Disk is the file with the disk: the staged one, or what was unpacked of it.
	Disk       string `json:"disk"`
	DiskFormat string `json:"diskFormat"`
	// VirtualBytes is the size of the disk.
	VirtualBytes int64 `json:"virtualBytes"`
}

// Import makes a blob of a file. The file and what is made beside it are gone afterwards, whatever
// happens.
func (im *Importer) Import(ctx context.Context, file string, o Options) (Result, error) {
	converted := file + ".converted"
	defer func() {
		for _, f := range []string{file, file + ".disk", converted} {
			_ = os.Remove(f)
		}
	}()
	e, err := im.Examine(ctx, file, o)
	if err != nil {
		return Result{}, err
	}
	if err := im.Convert(ctx, e, converted, o); err != nil {
		return Result{}, err
	}
	digest, size, err := im.Blobs.keep(ctx, converted)
	if err != nil {
		return Result{}, err
	}
	return Result{SourceFormat: named(e.Format), Digest: digest, SizeMiB: inMiB(size), VirtualMiB: inMiB(e.VirtualBytes)}, nil
}

// Examine finds out what a file is, and refuses what is wrong or hostile.
func (im *Importer) Examine(ctx context.Context, file string, o Options) (Examined, error) {
	if o.Checksum != "" {
		got, _, err := sum(ctx, file)
		if err != nil {
			return Examined{}, err
		}
		if got != o.Checksum {
			return Examined{}, fault.New(fault.Invalid, "what came has the checksum %s, wanted is %s: it was cut off or changed; fetch it again", got, o.Checksum)
		}
	}
	e := Examined{Disk: file}
	var err error
	if e.Format, e.VirtualBytes, err = look(file); err != nil {
		return Examined{}, err
	}
	e.DiskFormat = e.Format
	if e.Format == ova {
		e.Disk = file + ".disk"
		if err := unpackOVA(ctx, file, e.Disk); err != nil {
			return Examined{}, err
		}
		if e.DiskFormat, e.VirtualBytes, err = look(e.Disk); err != nil {
			return Examined{}, fault.Wrap(err, "the disk in the OVA")
		}
		if e.DiskFormat == ova {
			return Examined{}, fault.New(fault.Invalid, "what came is an archive in an archive")
		}
	}
	if err := im.limit(e.VirtualBytes); err != nil {
		return Examined{}, err
	}
	info, err := im.Tool.Info(ctx, qcow2.File{Path: e.Disk, Format: e.DiskFormat})
	if err != nil {
		return Examined{}, readable(err)
	}
	// our own reading has said so already; this is the second opinion
	if info.Backing != "" || info.FullBacking != "" || info.Encrypted {
		return Examined{}, fault.New(fault.Invalid, "what came builds on another file or is encrypted")
	}
	if err := im.whole(ctx, e, info); err != nil {
		return Examined{}, err
	}
	e.VirtualBytes = info.VirtualSize
	return e, im.limit(e.VirtualBytes)
}

// whole finds a qcow2 file that is damaged or cut off: what is missing would be read as zeros.
func (im *Importer) whole(ctx context.Context, e Examined, info qcow2.Info) error {
	if e.DiskFormat != qcow2.QCOW2 {
		return nil
	}
	end, err := im.Tool.Check(ctx, qcow2.File{Path: e.Disk, Format: qcow2.QCOW2})
	if err != nil {
		return readable(err)
	}
	f, size, err := openSized(e.Disk)
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
	most := im.MaxVirtualMiB
	if most == 0 {
		most = 2 << 20
	}
	if size > most*mib || size < 0 {
		return fault.New(fault.Invalid, "what came says it is a disk of %d MiB; at most %d are taken", size/mib, most)
	}
	return nil
}

// Convert writes the disk as a standalone qcow2 file. What it will take is compared with what is
// free before anything is written.
func (im *Importer) Convert(ctx context.Context, e Examined, to string, o Options) error {
	from := qcow2.File{Path: e.Disk, Format: e.DiskFormat}
	need := e.VirtualBytes
	if required, _, err := im.Tool.Measure(ctx, from); err == nil {
		need = required
	} else if e.DiskFormat == qcow2.QCOW2 || e.DiskFormat == qcow2.Raw {
		return readable(err) // these it can measure, if they are whole
	}
	if err := enough(to, need); err != nil {
		return err
	}
	_ = os.Remove(to)
	if err := im.Tool.Convert(ctx, from, to, o.Tell); err != nil {
		_ = os.Remove(to)
		return readable(err)
	}
	f, _, err := openSized(to)
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
