package main

import (
	"context"
	"net/netip"

	"github.com/virga-cloud/virga/compute/image"
	"github.com/virga-cloud/virga/compute/image/debian"
	"github.com/virga-cloud/virga/compute/image/tiny"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

// nobody runs qemu-img on what strangers send.
const nobody = 65534

// imageOptions is how the server keeps, fetches and converts images, and all that it can build.
func imageOptions(c *config) (*image.ServiceOptions, error) {
	blobs, err := image.OpenBlobs(c.in("images"))
	if err != nil {
		return nil, err
	}
	cache := c.in("cache")
	return &image.ServiceOptions{
		Importer: image.Importer{Blobs: blobs, Tool: qcow2.Tool{As: &qcow2.User{UID: nobody, GID: nobody}}},
		Download: image.Downloader{Refuse: func(a netip.Addr) bool { return a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() }},
		Recipes: map[string]image.Recipe{
			"tiny": func(ctx context.Context, to string, tell func(string)) error {
				return tiny.Build(ctx, to, tiny.Options{Cache: cache, Tell: tell})
			},
			"debian/12": func(ctx context.Context, to string, tell func(string)) error {
				return debian.Build(ctx, to, debian.Options{Tell: tell})
			},
		},
	}, nil
}
