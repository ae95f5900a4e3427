package tiny

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTheTinyImageIsBuiltAndThenCopiedFromTheCache(t *testing.T) {
	cache := os.Getenv("VIRGA_IMAGE_CACHE")
	if cache == "" {
		cache = filepath.Join(os.TempDir(), "virga-image-cache")
	}
	out := filepath.Join(t.TempDir(), "tiny.qcow2")
	o := Options{Cache: cache, Tell: func(s string) { t.Log(s) }}
	if err := Build(t.Context(), out, o); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := Build(t.Context(), out, o); err != nil {
		t.Fatal(err)
	}
	t.Log("second build:", time.Since(begun))
}
