package main

import (
	"cmp"
	"context"
	"net/netip"
	"strings"

	"github.com/virga-cloud/virga/compute/image"
	"github.com/virga-cloud/virga/compute/image/debian"
	"github.com/virga-cloud/virga/compute/image/tiny"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

// nobody runs qemu-img on what strangers send.
const nobody = 65534

// imageOptions is how the server keeps, fetches and converts images, and all that it can build.
func imageOptions(c *config) (*image.ServiceOptions, error) {
	blobs, err := image.OpenBlobs(cmp.Or(c.Images, c.in("images")))
	if err != nil {
		return nil, err
	}
	allow, err := networks(c.ImageSources)
	if err != nil {
		return nil, err
	}
	cache := c.in("cache")
	return &image.ServiceOptions{
		Importer: image.Importer{Blobs: blobs, Tool: imageTool()},
		Download: image.Downloader{Reach: image.Reach{Allow: allow}},
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

// imageTool runs qemu-img on what strangers send.
func imageTool() qcow2.Tool {
	return qcow2.Tool{As: &qcow2.User{UID: nobody, GID: nobody}, MemoryMiB: 4096}
}

// networks reads a list of networks and addresses.
func networks(list string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		network, err := netip.ParsePrefix(text)
		if address, one := netip.ParseAddr(text); one == nil {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "--image-sources: %q is no network and no address, like 192.168.10.0/24", text)
		}
		out = append(out, network.Masked())
	}
	return out, nil
}
