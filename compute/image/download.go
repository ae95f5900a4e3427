package image

import (
	"crypto/x509"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

// Downloader fetches what an image's URL names.
type Downloader struct {
	// MaxMiB is the largest file that is taken; 0: 64 GiB.
	MaxMiB int64
	// Reach is what a URL may reach.
	Reach Reach
	// Idle is how long nothing may come; 0: a minute.
	Idle time.Duration
	// Attempts is how often it is tried without anything new; 0: 5. Pause is the first wait between two; 0: a second.
	Attempts int
	Pause    time.Duration
	// Roots are the certificates that servers are judged by; nil: the VM's.
	Roots *x509.CertPool
}

const redirects = 5

// CheckURL checks the form of an image's URL.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fault.New(fault.Invalid, "an image's URL begins with http:// or https:// and names a server")
	}
	if u.User != nil {
		return fault.New(fault.Invalid, "an image's URL has no user and no password in it: everybody who sees the image would see them")
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && oddNumber.MatchString(u.Hostname()) {
		return fault.New(fault.Denied, "%s may not be called from this server: it is a number, and no address as people write one", short(u.Hostname()))
	}
	return nil
}

// oddNumber is a host whose last word is a number: some programs take it for an address of IPv4.
var oddNumber = regexp.MustCompile(`(^|\.)(0[xX][0-9a-fA-F]*|[0-9]+)\.?$`)

// metered tells how much was read.
type metered struct {
	r    io.Reader
	n    int64
	read func(int64)
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	if n > 0 {
		m.read(m.n)
	}
	return n, err
}
