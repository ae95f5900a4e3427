package image

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/engine/task/process"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

// Conversion is the task that makes standalone qcow2 files of what was staged for an image, on the host of
// the server that staged it. At most two convert at once: they are bound by the disk.
var Conversion = task.Type[ConversionInput]{Name: "image.convert", Limit: 2}

// ConversionInput says of what.
type ConversionInput struct {
	// Examined is what the content turned out to be.
	Examined Examined `json:"examined"`
}

// Converter does it. The programs outlive the agent, which adopts them when it is back:
//
//	<image>.content.converted.N.making   a disk that is being converted
//	<image>.content.converted.N          one that is whole
type Converter struct {
	Importer Importer
	Programs process.Folder
}

// making ends the name of a file that a program writes still.
const making = ".making"

// how often is looked at a program: first, and when it takes longer than a second.
const (
	shortLook = 50 * time.Millisecond
	longLook  = 500 * time.Millisecond
)

// Definition is its task.
func (c *Converter) Definition() task.Definition { return Conversion.Define(c.do, c.stop) }

// do begins with the first disk that is not whole, or adopts its program.
func (c *Converter) do(ctx context.Context, r *task.Run, in ConversionInput) error {
	id, disks := r.Task.ID, in.Examined.Disks
	for i, d := range disks {
		to := c.file(r.Task, i)
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		s, err := c.Programs.Look(id)
		if err != nil {
			return err
		}
		_, err = os.Lstat(to + making)
		switch begun := err == nil; {
		case s.Alive:
			percent := (100*i + qcow2.Percent(s.Out)) / len(disks)
			r.Tell(int64(percent), 100, fmt.Sprintf("converted %d %%", percent))
			if time.Since(r.Task.Status.StartedAt) > time.Second {
				return task.NotYet(longLook, "the conversion of disk %d", i)
			}
			return task.NotYet(shortLook, "the conversion of disk %d", i)
		case s.Known && s.Exit > 0:
			return readable(qcow2.Failure("convert "+d.File, s.Err, s.Exit))
		case s.Known && s.Exit == 0 && begun:
			if err := c.finish(to); err != nil {
				return err
			}
		default: // none, or one of the disk before, or one that the host's end has ended
			return c.begin(ctx, id, d, to)
		}
	}
	return c.Programs.Stop(id)
}

func (c *Converter) file(t *task.Task, disk int) string {
	return fmt.Sprintf("%s.%s.%d", c.Importer.Blobs.staged(t.Spec.Target.ID, content), converted, disk)
}

// begin starts the program of a disk.
func (c *Converter) begin(ctx context.Context, id resource.ID, d ExaminedDisk, to string) error {
	if err := c.Programs.Stop(id); err != nil {
		return err
	}
	if err := os.RemoveAll(to + making); err != nil {
		return fault.New(fault.Internal, "convert the image: %w", err)
	}
	if err := c.Importer.room(ctx, d, to); err != nil {
		return err
	}
	cmd, started, err := c.Importer.Tool.ConvertProgram(qcow2.File{Path: d.File, Format: d.Format}, to+making)
	if err != nil {
		return readable(err)
	}
	defer started()
	if err := c.Programs.Start(id, cmd); err != nil {
		return err
	}
	return task.NotYet(shortLook, "the conversion")
}

// finish judges what a program wrote, and gives it its name.
func (c *Converter) finish(to string) error {
	if err := standalone(to + making); err != nil {
		return err
	}
	if err := durable.Rename(to+making, to); err != nil {
		return fault.New(fault.Internal, "convert the image: %w", err)
	}
	return nil
}

// stop ends the program and removes what it wrote.
func (c *Converter) stop(_ context.Context, r *task.Run, in ConversionInput) error {
	if err := c.Programs.Stop(r.Task.ID); err != nil {
		return err
	}
	for i := range in.Examined.Disks {
		for _, f := range []string{c.file(r.Task, i), c.file(r.Task, i) + making} {
			if err := os.RemoveAll(f); err != nil {
				return fault.New(fault.Internal, "remove what was half converted: %w", err)
			}
		}
	}
	return nil
}

// followEvery is how often is asked how far a conversion is.
const followEvery = time.Second

// convert starts the task, and follows it.
func (s *Service) convert(ctx context.Context, r *operation.Run) error {
	e, _, err := operation.Output[Examined](r, "check")
	if err != nil {
		return err
	}
	t := s.conversion(r)
	if t == nil {
		i, err := s.image(r)
		if err != nil {
			return err
		}
		b, owner := r.DB.Begin(), r.Operation.Ref()
		_, err = Conversion.Start(b, s.tasks, task.Request{Name: conversionName(r), HostID: s.Home(), Target: i.Ref(), Owner: &owner, By: r.Operation.Spec.By}, ConversionInput{e})
		if err == nil {
			err = r.DB.Commit(ctx, b)
		}
		if err != nil {
			return fault.Wrap(err, "start the conversion")
		}
		return operation.NotYet(followEvery, "the conversion")
	}
	if task.Ended(t) {
		_, err := task.Outcome(t)
		return err
	}
	if s.Progress != nil {
		if p, err := s.Progress(ctx, t); err == nil {
			r.Tell(p.Done, p.Total, p.Words)
		}
	}
	return operation.NotYet(followEvery, "task %s", t.Name)
}

func conversionName(r *operation.Run) string { return "convert-" + string(r.Operation.ID) }

func (s *Service) conversion(r *operation.Run) *task.Task {
	return store.Named(r.DB.Snapshot(), task.Tasks, r.Operation.Project, conversionName(r))
}

// unconvert stops the task, and removes what was staged when nothing writes there any more.
func (s *Service) unconvert(ctx context.Context, r *operation.Run) error {
	t := s.conversion(r)
	if t == nil || task.Ended(t) {
		return s.discard(ctx, r)
	}
	if t.Spec.Cancel == "" {
		b := r.DB.Begin()
		if err := task.Cancel(b, s.tasks, t); err != nil {
			return err
		}
		if err := r.DB.Commit(ctx, b); err != nil {
			return err
		}
	}
	return operation.NotYet(followEvery, "task %s to be stopped", t.Name)
}
