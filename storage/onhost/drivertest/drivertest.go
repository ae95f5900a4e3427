// Package drivertest is what every storage driver must do.
package drivertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
)

// Subject is a driver to be tested: two hosts that see one empty place at the same path, and a
// third path that both see as an empty folder of their own.
type Subject struct {
	One, Two onhost.Driver
	Path     string
	Bare     string
	// Image is content that volumes can be backed by, with a disk of 16 MiB.
	Image []byte
}

// one is the chain of a volume without snapshots.
var one = storage.Chain{Layers: []storage.Layer{{ID: "a0"}}, Active: "a0"}

// Run runs all.
func Run(t *testing.T, fresh func(*testing.T) Subject) {
	for name, test := range map[string]func(*testing.T, Subject, onhost.Place){
		"TwoHostsFindTheSameIdentity":           sameIdentity,
		"NothingIsMadeInAPlaceThatIsAnotherOne": anotherPlace,
		"AVolumeIsMadeGrownAndRemovedTwice":     volumeLife,
		"AVolumeThatIsThereIsMadeNoLarger":      madeOnce,
		"AVolumeWaitsForItsBase":                base,
		"ContentThatIsNotWhatItIsCalled":        wrongContent,
		"ContentThatBreaksOffLeavesNothing":     brokenContent,
		"AnEmptyPlaceIsLeftAndOneInUseIsNot":    left,
		"AnOwnerOfThePastIsRefused":             epochs,
		"AVolumeThatIsNotThereCannotBeOpened":   absent,
		"AVolumeOpensForOneInstanceOfAnEpoch":   twoWriters,
		"AVolumeThatIsMissingIsNotMadeAnew":     missing,
		"ContentThatBacksAVolumeStays":          backing,
		"AnOwnerHostOfThePastIsRefused":         ownerEpochs,
		"ALayerIsPutOnAnotherAndPulledTogether": layerLife,
		"ALayerThatAnotherBuildsOnStays":        layerNeeded,
		"ACommittedLayerOpensForNobody":         layerCommitted,
		"AnOwnerOfThePastTouchesNoLayer":        layerEpochs,
		"ALayerOfAnotherVolumeIsNotThere":       layerOfAnother,
		"ALayerThatIsMissingIsNotMadeAnew":      layerMissing,
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			found, err := s.One.Scan(t.Context(), s.Path, true)
			must(t, err)
			test(t, s, onhost.Place{Path: s.Path, Identity: found.Identity})
		})
	}
}

func sameIdentity(t *testing.T, s Subject, at onhost.Place) {
	var wg sync.WaitGroup
	for _, d := range []onhost.Driver{s.One, s.Two, s.One, s.Two} {
		wg.Go(func() {
			for _, fresh := range []bool{true, false} {
				found, err := d.Scan(context.Background(), s.Path, fresh)
				if err != nil || found.Identity != at.Identity || found.CapacityMiB <= 0 || found.FreeMiB > found.CapacityMiB {
					t.Errorf("found %+v, %v", found, err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := s.One.Scan(t.Context(), "/nowhere/at/all", true); !fault.Is(err, fault.Precondition) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func anotherPlace(t *testing.T, s Subject, at onhost.Place) {
	if _, err := s.One.Scan(t.Context(), s.Bare, false); !fault.Is(err, fault.Unavailable) {
		t.Errorf("scan of a bare folder: %v", err)
	}
	for _, wrong := range []onhost.Place{{Path: s.Bare, Identity: at.Identity}, {Path: s.Path, Identity: "other"}} {
		id := resource.NewID()
		_, made := s.One.EnsureVolume(t.Context(), wrong, onhost.Volume{Chain: one, ID: id, SizeMiB: 16})
		_, grown := grower(t, s.One).Grow(t.Context(), wrong, onhost.Volume{Chain: one, ID: id, SizeMiB: 32})
		_, listed := s.One.List(t.Context(), wrong)
		_, _, opened := s.One.Open(t.Context(), wrong, onhost.Owner{Layer: one.Active, VolumeID: id})
		_, kept := cloner(t, s.One).EnsureImage(t.Context(), wrong, onhost.Image{Digest: digest(s.Image)}, content(s.Image))
		for _, err := range []error{made, grown, listed, opened, kept, s.One.RemoveVolume(t.Context(), wrong, onhost.Volume{ID: id}), cloner(t, s.One).RemoveImage(t.Context(), wrong, onhost.Image{Digest: digest(s.Image)})} {
			if !fault.Is(err, fault.Unavailable) {
				t.Errorf("%v: %v", wrong, err)
			}
		}
	}
}

func volumeLife(t *testing.T, s Subject, at onhost.Place) {
	v := onhost.Volume{Chain: one, ID: resource.NewID(), SizeMiB: 16}
	for _, d := range []onhost.Driver{s.One, s.Two} {
		u, err := d.EnsureVolume(t.Context(), at, v)
		must(t, err)
		if u.SizeMiB != 16 || u.UsedMiB > u.SizeMiB {
			t.Errorf("made %+v", u)
		}
	}
	for i, size := range []int64{16, 32, 32, 16} {
		v.SizeMiB = size
		u, err := grower(t, []onhost.Driver{s.One, s.Two}[i%2]).Grow(t.Context(), at, v)
		must(t, err)
		if want := []int64{16, 32, 32, 32}[i]; u.SizeMiB != want || u.UsedMiB > u.SizeMiB {
			t.Errorf("grown to %d MiB: %+v, want a size of %d", size, u, want)
		}
	}
	items, err := s.Two.List(t.Context(), at)
	must(t, err)
	if len(items) != 1 || items[0].Kind != onhost.AVolume || items[0].Name != string(v.ID) {
		t.Errorf("listed %+v", items)
	}
	must(t, s.One.RemoveVolume(t.Context(), at, v))
	must(t, s.Two.RemoveVolume(t.Context(), at, v))
	if _, err := grower(t, s.One).Grow(t.Context(), at, v); err == nil {
		t.Error("a volume that is not there was grown")
	}
	isEmpty(t, s, at)
}

// madeOnce: who has a volume open grows it; to make it again must not.
func madeOnce(t *testing.T, s Subject, at onhost.Place) {
	id := resource.NewID()
	for _, size := range []int64{16, 32} {
		u, err := s.One.EnsureVolume(t.Context(), at, onhost.Volume{Chain: one, ID: id, SizeMiB: size})
		must(t, err)
		if u.SizeMiB != 16 {
			t.Errorf("with a desired size of %d MiB it has %d", size, u.SizeMiB)
		}
	}
}

func left(t *testing.T, s Subject, at onhost.Place) {
	id := resource.NewID()
	_, err := s.One.EnsureVolume(t.Context(), at, onhost.Volume{Chain: one, ID: id, SizeMiB: 16})
	must(t, err)
	must(t, s.Two.Leave(t.Context(), at))
	if found, err := s.One.Scan(t.Context(), s.Path, false); err != nil || found.Identity != at.Identity {
		t.Fatalf("a place with a volume was left: %+v, %v", found, err)
	}
	must(t, s.One.RemoveVolume(t.Context(), at, onhost.Volume{ID: id}))
	must(t, s.One.Leave(t.Context(), onhost.Place{Path: at.Path, Identity: "other"}))
	if found, err := s.One.Scan(t.Context(), s.Path, false); err != nil || found.Identity != at.Identity {
		t.Fatalf("a place that is another one was left: %+v, %v", found, err)
	}
	for _, d := range []onhost.Driver{s.One, s.Two} {
		must(t, d.Leave(t.Context(), at))
	}
	if _, err := s.One.Scan(t.Context(), s.Path, false); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after it was left: %v", err)
	}
}

func base(t *testing.T, s Subject, at onhost.Place) {
	v := onhost.Volume{Chain: one, ID: resource.NewID(), SizeMiB: 64, Base: &storage.Base{Digest: digest(s.Image), VirtualMiB: 16}}
	cloner(t, s.One)
	if _, err := s.One.EnsureVolume(t.Context(), at, v); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a volume without its base: %v", err)
	}
	isEmpty(t, s, at)
	size, err := cloner(t, s.One).EnsureImage(t.Context(), at, onhost.Image{Digest: digest(s.Image)}, content(s.Image))
	must(t, err)
	again, err := cloner(t, s.Two).EnsureImage(t.Context(), at, onhost.Image{Digest: digest(s.Image)}, func(context.Context) (io.ReadCloser, error) {
		return nil, errors.New("read again")
	})
	must(t, err)
	if again != size {
		t.Errorf("sizes %d and %d", size, again)
	}
	u, err := s.One.EnsureVolume(t.Context(), at, v)
	must(t, err)
	if u.SizeMiB != 64 {
		t.Errorf("made %+v", u)
	}
	must(t, s.One.RemoveVolume(t.Context(), at, onhost.Volume{ID: v.ID}))
	must(t, cloner(t, s.One).RemoveImage(t.Context(), at, onhost.Image{Digest: digest(s.Image)}))
	must(t, cloner(t, s.One).RemoveImage(t.Context(), at, onhost.Image{Digest: digest(s.Image)}))
	isEmpty(t, s, at)
}

func wrongContent(t *testing.T, s Subject, at onhost.Place) {
	if _, err := cloner(t, s.One).EnsureImage(t.Context(), at, onhost.Image{Digest: digest(s.Image)}, content([]byte("other"))); !fault.Is(err, fault.Unavailable) {
		t.Errorf("other content: %v", err)
	}
	for _, name := range []string{"", "sha256:../../etc", "md5:" + digest(s.Image)[7:]} {
		if _, err := cloner(t, s.One).EnsureImage(t.Context(), at, onhost.Image{Digest: name}, content(s.Image)); !fault.Is(err, fault.Invalid) {
			t.Errorf("digest %q: %v", name, err)
		}
	}
	isEmpty(t, s, at)
}

func brokenContent(t *testing.T, s Subject, at onhost.Place) {
	broken := func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(s.Image[:len(s.Image)/2]), failing{})), nil
	}
	if _, err := cloner(t, s.One).EnsureImage(t.Context(), at, onhost.Image{Digest: digest(s.Image)}, broken); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("broken content: %v", err)
	}
	isEmpty(t, s, at)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func epochs(t *testing.T, s Subject, at onhost.Place) {
	id := resource.NewID()
	_, err := s.One.EnsureVolume(t.Context(), at, onhost.Volume{Chain: one, ID: id, SizeMiB: 16})
	must(t, err)
	for _, step := range []struct {
		driver onhost.Driver
		epoch  int64
		ok     bool
	}{{s.One, 3, true}, {s.One, 3, true}, {s.Two, 2, false}, {s.Two, 4, true}, {s.One, 3, false}, {s.One, 4, true}} {
		o, _, err := step.driver.Open(t.Context(), at, onhost.Owner{Layer: one.Active, VolumeID: id, Epoch: step.epoch, UID: int64(os.Geteuid())})
		if step.ok && (err != nil || o.Path == "" || o.Format == "" || o.Layer != one.Active) || !step.ok && !fault.Is(err, fault.Precondition) {
			t.Errorf("epoch %d: %+v, %v", step.epoch, o, err)
		}
	}
}

// twoWriters: two instances that were given one epoch are not both let in.
func twoWriters(t *testing.T, s Subject, at onhost.Place) {
	id, first, second := resource.NewID(), resource.NewID(), resource.NewID()
	_, err := s.One.EnsureVolume(t.Context(), at, onhost.Volume{Chain: one, ID: id, SizeMiB: 16})
	must(t, err)
	for i, step := range []struct {
		driver onhost.Driver
		who    resource.ID
		epoch  int64
		ok     bool
	}{{s.One, first, 3, true}, {s.One, first, 3, true}, {s.Two, second, 3, false}, {s.Two, second, 4, true}, {s.One, first, 4, false}, {s.One, first, 5, true}} {
		_, _, err := step.driver.Open(t.Context(), at, onhost.Owner{Layer: one.Active, VolumeID: id, InstanceID: step.who, Epoch: step.epoch, UID: int64(os.Geteuid())})
		if step.ok != (err == nil) || err != nil && !fault.Is(err, fault.Precondition) {
			t.Errorf("step %d: %v", i, err)
		}
	}
}

// missing: what was made is not made again, whoever took it away.
func missing(t *testing.T, s Subject, at onhost.Place) {
	v := onhost.Volume{Chain: one, ID: resource.NewID(), SizeMiB: 16, Made: []string{one.Active}}
	for _, d := range []onhost.Driver{s.One, s.Two} {
		if _, err := d.EnsureVolume(t.Context(), at, v); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), string(v.ID)) {
			t.Errorf("a volume that is missing: %v", err)
		}
	}
	isEmpty(t, s, at)
	v.Made = nil
	_, err := s.One.EnsureVolume(t.Context(), at, v)
	must(t, err)
	v.Made = []string{one.Active}
	_, err = s.Two.EnsureVolume(t.Context(), at, v)
	must(t, err)
}

func backing(t *testing.T, s Subject, at onhost.Place) {
	image := onhost.Image{Digest: digest(s.Image), Epoch: 1}
	_, err := cloner(t, s.One).EnsureImage(t.Context(), at, image, content(s.Image))
	must(t, err)
	v := onhost.Volume{Chain: one, ID: resource.NewID(), SizeMiB: 64, Base: &storage.Base{Digest: image.Digest, VirtualMiB: 16}}
	_, err = s.One.EnsureVolume(t.Context(), at, v)
	must(t, err)
	for _, d := range []onhost.Driver{s.One, s.Two} {
		if err := cloner(t, d).RemoveImage(t.Context(), at, image); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), string(v.ID)) {
			t.Errorf("content that a volume is backed by: %v", err)
		}
	}
	must(t, s.Two.RemoveVolume(t.Context(), at, v))
	must(t, cloner(t, s.Two).RemoveImage(t.Context(), at, image))
	isEmpty(t, s, at)
}

// ownerEpochs: a host that has not heard that another looks after a thing now changes nothing, also
// when the thing was removed and made anew meanwhile.
func ownerEpochs(t *testing.T, s Subject, at onhost.Place) {
	past, now := onhost.Image{Digest: digest(s.Image), Epoch: 3}, onhost.Image{Digest: digest(s.Image), Epoch: 7}
	v := onhost.Volume{Chain: one, ID: resource.NewID(), SizeMiB: 16, Epoch: 3}
	for _, epoch := range []int64{3, 7} {
		v.Epoch = epoch
		_, err := s.One.EnsureVolume(t.Context(), at, v)
		must(t, err)
		_, err = cloner(t, s.One).EnsureImage(t.Context(), at, onhost.Image{Digest: past.Digest, Epoch: epoch}, content(s.Image))
		must(t, err)
	}
	must(t, cloner(t, s.One).RemoveImage(t.Context(), at, now))
	_, err := cloner(t, s.One).EnsureImage(t.Context(), at, now, content(s.Image))
	must(t, err)
	before, err := s.One.List(t.Context(), at)
	must(t, err)
	v.Epoch, v.SizeMiB = 3, 32
	_, ensured := s.Two.EnsureVolume(t.Context(), at, v)
	_, grown := grower(t, s.Two).Grow(t.Context(), at, v)
	_, kept := cloner(t, s.Two).EnsureImage(t.Context(), at, past, content(s.Image))
	for _, err := range []error{ensured, grown, kept, s.Two.RemoveVolume(t.Context(), at, v), cloner(t, s.Two).RemoveImage(t.Context(), at, past)} {
		if !fault.Is(err, fault.Precondition) || onhost.Highest(err) != 7 {
			t.Errorf("an owner of the past: %v", err)
		}
	}
	after, err := s.One.List(t.Context(), at)
	must(t, err)
	if len(before) != 2 || !reflect.DeepEqual(before, after) {
		t.Errorf("%v became %v", before, after)
	}
}

func absent(t *testing.T, s Subject, at onhost.Place) {
	if _, _, err := s.One.Open(t.Context(), at, onhost.Owner{Layer: one.Active, VolumeID: resource.NewID(), Epoch: 1}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("open: %v", err)
	}
	isEmpty(t, s, at)
}

// cloner and grower are what a driver can do besides; one that cannot passes without.
func cloner(t *testing.T, d onhost.Driver) onhost.Cloner {
	t.Helper()
	c, can := d.(onhost.Cloner)
	if !can {
		t.Skip("volumes of this driver cannot start from an image")
	}
	return c
}

func grower(t *testing.T, d onhost.Driver) onhost.Grower {
	t.Helper()
	g, can := d.(onhost.Grower)
	if !can {
		t.Skip("volumes of this driver cannot grow")
	}
	return g
}

func isEmpty(t *testing.T, s Subject, at onhost.Place) {
	t.Helper()
	items, err := s.One.List(t.Context(), at)
	must(t, err)
	if len(items) != 0 {
		t.Errorf("left behind: %+v", items)
	}
}

func content(data []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
