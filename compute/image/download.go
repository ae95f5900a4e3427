package image

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

// Downloader fetches what an image's URL names.
type Downloader struct {
	// MaxMiB is the largest file that is taken; 0: 64 GiB.
	MaxMiB int64
	// Refuse, if set, is asked about every address that is about to be called: a tenant's URL must
	// not reach what only the server reaches.
	Refuse func(netip.Addr) bool
	// Idle is how long nothing may come; 0: a minute.
	Idle time.Duration
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
	return nil
}

// Fetch writes what the URL gives to a file. Tell is told bytes, and of how many (0: nobody knows).
func (d Downloader) Fetch(ctx context.Context, raw, to string, tell func(done, total int64)) error {
	if err := CheckURL(raw); err != nil {
		return err
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, nil)
	if err != nil {
		return fault.New(fault.Invalid, "fetch the image: %w", err)
	}
	client := d.client()
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return d.explain(ctx, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		kind := fault.Invalid
		if res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests {
			kind = fault.Unavailable
		}
		return fault.New(kind, "fetch the image: its server says %s", short(res.Status))
	}
	return d.receive(ctx, giveUp, res, to, tell)
}

func (d Downloader) most() int64 {
	if d.MaxMiB == 0 {
		return 64 << 30
	}
	return d.MaxMiB * mib
}

func (d Downloader) receive(ctx context.Context, giveUp context.CancelCauseFunc, res *http.Response, to string, tell func(done, total int64)) error {
	most := d.most()
	if res.ContentLength > most {
		return fault.New(fault.Invalid, "fetch the image: it has %d MiB; at most %d are taken", res.ContentLength/mib, most/mib)
	}
	if err := enough(to, max(0, res.ContentLength)); err != nil {
		return err
	}
	out, err := os.Create(to + half)
	if err != nil {
		return fault.New(fault.Internal, "keep the image: %w", err)
	}
	defer os.Remove(to + half)
	defer out.Close()
	idle := d.Idle
	if idle == 0 {
		idle = time.Minute
	}
	timer := time.AfterFunc(idle, func() {
		giveUp(fault.New(fault.Unavailable, "fetch the image: nothing came for %s", idle))
	})
	defer timer.Stop()
	body := &metered{r: io.LimitReader(res.Body, most+1), read: func(done int64) {
		timer.Reset(idle)
		tell(done, max(0, res.ContentLength))
	}}
	n, err := io.Copy(out, body)
	switch {
	case err != nil && errors.Is(err, syscall.ENOSPC):
		return noSpace(err)
	case err != nil:
		return d.explain(ctx, err)
	case n > most:
		return fault.New(fault.Invalid, "fetch the image: it has more than %d MiB; no more are taken", most/mib)
	}
	if err := out.Close(); err != nil {
		return noSpace(fault.New(fault.Internal, "keep the image: %w", err))
	}
	return os.Rename(to+half, to)
}

func (d Downloader) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return fault.Wrap(e, "fetch the image")
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fault.New(fault.Unavailable, "fetch the image: %w", err)
}

func (d Downloader) client() *http.Client {
	dialer := &net.Dialer{Timeout: 20 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if d.Refuse != nil && d.Refuse(to.Addr().Unmap()) {
			return fault.New(fault.Denied, "address %s may not be called from this server", to.Addr())
		}
		return nil
	}}
	return &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 20 * time.Second,
			ResponseHeaderTimeout: time.Minute, DisableCompression: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			if len(before) > redirects {
				return fault.New(fault.Invalid, "it is sent from one place to the next, more than %d times", redirects)
			}
			return CheckURL(next.URL.String())
		},
	}
}

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
