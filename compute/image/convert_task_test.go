package image

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/engine/task/process"
	"github.com/virga-cloud/virga/engine/task/tasktest"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

// conversion is a world with two staged disks and nobody who converts them yet.
type conversion struct {
	*server
	converter *Converter
	image     *compute.Image
	disks     []ExaminedDisk
}

func newConversion(t testing.TB, size int) *conversion {
	s := newServer(t)
	c := &conversion{server: s, converter: &Converter{Importer: s.Importer, Programs: process.Folder{Path: filepath.Join(t.TempDir(), "programs")}}}
	t.Cleanup(func() {
		if err := c.converter.Programs.StopAll(); err != nil {
			t.Error(err)
		}
	})
	c.image = &compute.Image{Spec: compute.ImageSpec{Source: compute.ImageSource{Type: compute.Upload}, Visibility: "project"}}
	c.image.Name, c.image.Project = "web", "p"
	b := s.db.Begin()
	s.images.Create(b, c.image)
	if err := s.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{1})
	for i := range 2 {
		d := ExaminedDisk{File: s.Importer.Blobs.staged(c.image.ID, fmt.Sprintf("%s.disk.%d", content, i)), Format: qcow2.Raw, VirtualBytes: int64(size)}
		data := make([]byte, size)
		_, _ = random.Read(data)
		if err := os.WriteFile(d.File, data, 0o644); err != nil {
			t.Fatal(err)
		}
		c.disks = append(c.disks, d)
	}
	return c
}

// facts are the names of what lies there, and the programs.
func (c *conversion) facts() string {
	programs, _ := c.converter.Programs.List()
	return fmt.Sprint(c.staged(), programs)
}

func (c *conversion) start(b *store.Batch) (*task.Task, error) {
	return Conversion.Start(b, c.tasks, task.Request{HostID: c.Home(), Target: c.image.Ref()}, ConversionInput{Examined{Format: ova, Disks: c.disks}})
}

// same says which disk does not have the content that it was converted from.
func (c *conversion) same() error {
	for i, d := range c.disks {
		to := c.Importer.Blobs.staged(c.image.ID, fmt.Sprintf("%s.%s.%d", content, converted, i))
		out := filepath.Join(c.TempDir(), "raw")
		if err := runTool("convert", "-f", "qcow2", "-O", "raw", to, out); err != nil {
			return err
		}
		want, _ := os.ReadFile(d.File)
		got, err := os.ReadFile(out)
		if err != nil || !slices.Equal(want, got) {
			return fmt.Errorf("disk %d has another content: %v", i, err)
		}
	}
	if programs, _ := c.converter.Programs.List(); len(programs) > 0 {
		return errors.New("a program is kept")
	}
	return nil
}

func TestAConversionCanBreakAnywhere(t *testing.T) {
	tasktest.Run(t, func(t testing.TB) *tasktest.World {
		c := newConversion(t, 3*mib)

		return &tasktest.World{DB: c.db, Specs: c.tasks, Statuses: c.taskStatuses(), Definition: c.converter.Definition(),
			Restart: func() task.Definition {
				c.converter = &Converter{Importer: c.Importer, Programs: c.converter.Programs}
				return c.converter.Definition()
			},
			Start: c.start, Facts: c.facts, Reached: c.same, Settle: func() { time.Sleep(3 * time.Millisecond) },
		}
	})
}

func (c *conversion) taskStatuses() *store.StatusWriter[task.Spec, task.Status] {
	return store.Statuses(store.NewRegistry(), task.Tasks, "test")
}

// slow puts a qemu-img before the real one that works as long as the file go is missing.
func (c *conversion) slow() (letGo func()) {
	dir := c.TempDir()
	wait := filepath.Join(dir, "go")
	script := "#!/bin/sh\n[ \"$1\" != convert ] || while [ ! -e " + wait + " ]; do echo '    (42.00/100%)'; sleep 0.02; done\nexec qemu-img \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "qemu-img"), []byte(script), 0o755); err != nil {
		c.Fatal(err)
	}
	c.converter.Importer.Tool.Binary = filepath.Join(dir, "qemu-img")
	return func() { _ = os.WriteFile(wait, nil, 0o644) }
}

func (c *conversion) begin(runner *task.Runner) resource.ID {
	b := c.db.Begin()
	n, err := c.start(b)
	if err == nil {
		err = c.db.Commit(c.Context(), b)
	}
	if err == nil {
		_, err = runner.Step(c.Context(), n.ID)
	}
	if err != nil {
		c.Fatal(err)
	}
	return n.ID
}

func (c *conversion) runner() *task.Runner {
	return task.NewRunner(c.knowledge(), c.Home(), c.taskStatuses(), c.converter.Definition())
}

func TestAConversionGoesOnWhileItsAgentIsAway(t *testing.T) {
	c := newConversion(t, mib)
	letGo := c.slow()
	id := c.begin(c.runner())
	began, _ := os.ReadFile(filepath.Join(c.converter.Programs.Path, string(id), "pid"))
	next := c.runner() // another agent: it knows nothing but the records and the folder
	for range 50 {
		if _, err := next.Step(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if p, known := next.Progress(id); !known || p.Done != 21 || p.Total != 100 {
		t.Errorf("progress is %+v: 42 %% of the first of two disks are 21", p)
	}
	now, _ := os.ReadFile(filepath.Join(c.converter.Programs.Path, string(id), "pid"))
	if len(now) == 0 || string(now) != string(began) {
		t.Errorf("the program was %q and is %q: it was not adopted", began, now)
	}
	letGo()
	c.until(next, id, task.Succeeded)
	if err := c.same(); err != nil {
		t.Error(err)
	}
}

func TestAConversionWhoseProgramWasKilledBeginsAgain(t *testing.T) {
	c := newConversion(t, mib)
	letGo := c.slow()
	id, runner := c.begin(c.runner()), c.runner()
	var pid int
	text, _ := os.ReadFile(filepath.Join(c.converter.Programs.Path, string(id), "pid"))
	_, _ = fmt.Sscan(string(text), &pid)
	_ = syscall.Kill(-pid, syscall.SIGKILL) // as the end of the host would
	letGo()
	c.until(runner, id, task.Succeeded)
	if err := c.same(); err != nil {
		t.Error(err)
	}
}

func TestAConversionThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	c := newConversion(t, mib)
	c.disks[1].Format = qcow2.VMDK // which it is not
	before := c.facts()
	runner := c.runner()
	id := c.begin(runner)
	c.until(runner, id, task.Failed)
	_, err := task.Outcome(store.Find(c.db.Snapshot(), task.Tasks, id))
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("it says %v", err)
	}
	if now := c.facts(); now != before {
		t.Errorf("there was\n%s\nand is\n%s", before, now)
	}
}

func (c *conversion) until(r *task.Runner, id resource.ID, phase string) {
	c.Helper()
	for range 2000 {
		_, err := r.Step(c.Context(), id)
		if t := store.Find(c.db.Snapshot(), task.Tasks, id); t != nil && t.Status.Phase == phase {
			return
		} else if t == nil || task.Ended(t) {
			c.Fatalf("it is %+v: %v", t, err)
		}
		time.Sleep(3 * time.Millisecond)
	}
	c.Fatalf("it is never %s", phase)
}

func TestACancelledImportStopsItsConversion(t *testing.T) {
	c := newConversion(t, mib)
	c.slow()
	s := c.server
	s.host = c.runner()
	s.loops[3] = s.host.Loop()
	i := &compute.Image{Spec: compute.ImageSpec{Source: compute.ImageSource{Type: compute.Build, Recipe: "small"}, Visibility: "project"}}
	i.Name, i.Project = "slow", "p"
	b := s.db.Begin()
	s.images.Create(b, i, Holder)
	if err := s.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		s.round()
		if w := task.Working(s.db.Snapshot(), i.ID); len(w) == 1 && w[0].Status.Phase == task.Running {
			break
		}
	}
	b = s.db.Begin()
	if err := operation.Cancel(b, s.ops, operation.InTheWay(s.db.Snapshot(), i.ID)); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s.settle()
	programs, _ := c.converter.Programs.List()
	if st := s.find(i.ID).Status; st.Phase != compute.ImageFailed || len(programs) != 0 || slices.ContainsFunc(s.staged(), func(f string) bool { return strings.Contains(f, string(i.ID)) }) {
		t.Errorf("the image is %+v, programs %v, staged %v", st, programs, s.staged())
	}
	s.delete(i.ID)
	if s.find(i.ID) != nil || len(store.Referring(s.db.Snapshot(), task.Tasks, i.ID)) != 0 {
		t.Errorf("after the end of the image there is %v", store.Referring(s.db.Snapshot(), task.Tasks, i.ID))
	}
}

func runTool(args ...string) error {
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("qemu-img %v: %w: %s", args, err, out)
	}
	return nil
}
