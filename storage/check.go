package storage

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// Limits of what may be asked for.
const (
	MaxVolumeMiB = 64 << 20 // 64 TiB
	MinVolumeMiB = 1
)

// CheckDigest checks the form of a content's name.
func CheckDigest(digest string) error {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return fault.New(fault.Invalid, "a digest is %q and 64 hex digits, not %q", "sha256:", digest)
	}
	return nil
}

// checkNewBackend lists what is wrong with what somebody asks for. Only the cloud itself makes a
// folder below the hosts' state folders.
func checkNewBackend(s *BackendSpec) []fault.Detail {
	if !path.IsAbs(s.Path) {
		return []fault.Detail{{Field: "spec.path", Message: "must be absolute, like /mnt/nas: it is the folder's path on each of the hosts"}}
	}
	return CheckBackend(s)
}

// CheckBackend lists what is wrong with a storage backend.
func CheckBackend(s *BackendSpec) []fault.Detail {
	var out []fault.Detail
	if s.Type != Folder && s.Type != PlainFolder {
		out = append(out, fault.Detail{Field: "spec.type", Message: "must be folder or plain-folder"})
	}
	if plain := path.Clean(s.Path) == s.Path; !plain || s.Path == "/" || s.Path == "." || !path.IsAbs(s.Path) && !filepath.IsLocal(s.Path) {
		out = append(out, fault.Detail{Field: "spec.path", Message: "must be the plain absolute path of a folder, or one below the host's state folder"})
	}
	if strings.ContainsAny(s.Path, ",\n\x00") {
		out = append(out, fault.Detail{Field: "spec.path", Message: "must not contain commas or line ends"})
	}
	if len(s.HostIDs) == 0 {
		out = append(out, fault.Detail{Field: "spec.hostIDs", Message: "name the hosts that reach it"})
	}
	return out
}

// DefaultBackend fills what was left out.
func DefaultBackend(s *BackendSpec) {
	if s.Type == "" {
		s.Type = Folder
	}
	s.Path = strings.TrimRight(s.Path, "/")
}

// CheckDatastore lists what is wrong with a datastore.
func CheckDatastore(s *DatastoreSpec) []fault.Detail {
	if s.BackendID == "" {
		return []fault.Detail{{Field: "spec.backendID", Message: "name the storage backend that it is made on"}}
	}
	return nil
}

// CheckVolume lists what is wrong with a volume.
func CheckVolume(s *VolumeSpec) []fault.Detail {
	var out []fault.Detail
	if s.SizeMiB < MinVolumeMiB || s.SizeMiB > MaxVolumeMiB {
		out = append(out, fault.Detail{Field: "spec.sizeMiB", Message: fmt.Sprintf("must be from %d to %d", MinVolumeMiB, MaxVolumeMiB)})
	}
	if s.Base == nil {
		return out
	}
	if err := CheckDigest(s.Base.Digest); err != nil {
		out = append(out, fault.Detail{Field: "spec.base.digest", Message: err.Error()})
	}
	if s.SizeMiB < s.Base.VirtualMiB {
		out = append(out, fault.Detail{Field: "spec.sizeMiB", Message: fmt.Sprintf("must be at least %d, the size of the disk that it starts from", s.Base.VirtualMiB)})
	}
	return out
}

// DefaultVolume fills what was left out: a disk that starts from an image is as large as it.
func DefaultVolume(s *VolumeSpec) {
	if s.SizeMiB == 0 && s.Base != nil {
		s.SizeMiB = s.Base.VirtualMiB
	}
}

// CheckVolumeChange lists what may not be changed in a volume that is there.
func CheckVolumeChange(old, new *VolumeSpec) []fault.Detail {
	var out []fault.Detail
	if new.SizeMiB < old.SizeMiB {
		out = append(out, fault.Detail{Field: "spec.sizeMiB", Message: fmt.Sprintf("a volume cannot shrink; it has %d", old.SizeMiB)})
	}
	if (old.Base == nil) != (new.Base == nil) || old.Base != nil && *old.Base != *new.Base {
		out = append(out, fault.Detail{Field: "spec.base", Message: "cannot be changed"})
	}
	if new.DatastoreID != old.DatastoreID {
		out = append(out, fault.Detail{Field: "spec.datastoreID", Message: "cannot be changed"})
	}
	return out
}
