package compute

import (
	"context"
	"net/url"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
)

// MaxShares is with how many projects an image can be shared.
const MaxShares = 100

// Recipes are what can be built.
var Recipes = []string{"tiny", "debian/12"}

// Default fills in what was not said.
func (s *ImageSpec) Default() {
	if s.Visibility == "" {
		s.Visibility = ToProject
		if len(s.SharedWith) > 0 {
			s.Visibility = ToShared
		}
	}
	if sum, err := ParseChecksum(s.Source.Checksum); err == nil { // in one form, whatever it came in
		s.Source.Checksum = sum
	}
	if s.MinMemoryMiB == 0 && s.Source.Type == Build {
		s.MinMemoryMiB = map[string]int64{"tiny": 96, "debian/12": 256}[s.Source.Recipe]
	}
}

// SumsURL says whether a checksum is the address of a list of them.
func SumsURL(checksum string) bool {
	return strings.HasPrefix(checksum, "http://") || strings.HasPrefix(checksum, "https://")
}

// Check lists everything that is wrong with the spec of an image.
func (s *ImageSpec) Check() []fault.Detail {
	var out []fault.Detail
	wrong := func(field, message string) { out = append(out, fault.Detail{Field: "spec." + field, Message: message}) }
	switch {
	case s.Visibility != ToProject && s.Visibility != ToShared && s.Visibility != ToCloud:
		wrong("visibility", "must be project, shared or cloud")
	case s.Visibility == ToShared && len(s.SharedWith) == 0:
		wrong("sharedWith", "with which projects? a shared image names them")
	case s.Visibility != ToShared && len(s.SharedWith) > 0:
		wrong("sharedWith", "only an image whose visibility is shared names projects")
	case len(s.SharedWith) > MaxShares:
		wrong("sharedWith", "at most 100 projects; make it visible to the cloud instead")
	}
	if s.MinMemoryMiB < 0 || s.MinMemoryMiB > MaxMemoryMiB {
		wrong("minMemoryMiB", "must be between 0 and 4194304")
	}
	source := s.Source
	if SumsURL(source.Checksum) {
		if source.Type != URL {
			wrong("source.checksum", "only for an image of type url a list of checksums is fetched; give the sum itself")
		}
	} else if source.Checksum != "" {
		if _, err := ParseChecksum(source.Checksum); err != nil {
			wrong("source.checksum", err.Error())
		}
	}
	switch source.Type {
	case Upload:
	case URL:
		if u, err := url.Parse(source.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			wrong("source.url", "must be an http or https URL")
		} else if u.User != nil { // refused before it is kept
			wrong("source.url", "no user and no password in it: everybody who sees the image would see them")
		}
	case Build:
		known := false
		for _, r := range Recipes {
			known = known || r == source.Recipe
		}
		if !known {
			wrong("source.recipe", "must be tiny or debian/12")
		}
	default:
		wrong("source.type", "must be upload, url or build")
	}
	if source.Reach != "" && (source.Type != URL || source.Reach != ReachPublic && source.Reach != ReachPrivate) {
		wrong("source.reach", "must be public or private, and only for an image of type url")
	}
	if source.Type != URL && source.URL != "" {
		wrong("source.url", "only an image of type url has one")
	}
	if source.Type != Build && source.Recipe != "" {
		wrong("source.recipe", "only an image of type build has one")
	}
	return out
}

// ImageIsReady says whether the image can be used; an import that failed will not get better.
func ImageIsReady(i *Image) (bool, error) {
	if i.Status.Phase == ImageFailed {
		message := "the import failed; delete the image and make it again"
		if len(i.Status.Problems) > 0 {
			message = i.Status.Problems[0].Message
		}
		return false, fault.New(fault.Precondition, "%s", message)
	}
	return i.Status.Phase == ImageReady, nil
}

// ImageChanging refuses to change where an image comes from: its content is there already.
func ImageChanging(_ context.Context, _ *httpapi.Call, old *Image, spec *ImageSpec) error {
	if spec.Source != old.Spec.Source {
		return fault.New(fault.Invalid, "change image %s: its source cannot be changed; make another image", old.Name)
	}
	return nil
}
