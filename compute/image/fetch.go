package image

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

// everMost is how often a download is taken up again at all, however much comes each time.
const everMost = 100

// transfer is one download: what has come already stays between its attempts.
type transfer struct {
	Downloader
	raw    string
	client *http.Client
	out    *os.File
	tell   func(done, total int64)
	have   int64
	total  int64  // 0: nobody knows
	same   string // the validator that says whether the content is still the same; empty: cannot be taken up
}

// Fetch writes what the URL gives to a file. Inside says that an operator of the cloud asks. Tell is
// told bytes, and of how many (0: nobody knows). What may get better by itself is tried again, from
// where it broke off if the server can do that; the error is final.
func (d Downloader) Fetch(ctx context.Context, raw, to string, inside bool, tell func(done, total int64)) error {
	if err := CheckURL(raw); err != nil {
		return err
	}
	out, err := os.Create(to + half)
	if err != nil {
		return fault.New(fault.Internal, "keep the image: %w", err)
	}
	defer os.Remove(to + half)
	defer out.Close()
	t := &transfer{Downloader: d, raw: raw, client: d.client(inside), out: out, tell: tell}
	defer t.client.CloseIdleConnections()
	if err := t.run(ctx); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return noSpace(fault.New(fault.Internal, "keep the image: %w", err))
	}
	return os.Rename(to+half, to)
}

func (t *transfer) run(ctx context.Context) error {
	attempts, pause := t.Attempts, t.Pause
	if attempts == 0 {
		attempts = 5
	}
	if pause == 0 {
		pause = time.Second
	}
	for ever, idle := 1, 1; ; ever, idle = ever+1, idle+1 {
		before := t.have
		err := t.attempt(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fault.New(fault.Unavailable, "fetch the image: %w", context.Cause(ctx))
		case !fault.Is(err, fault.Unavailable):
			return err
		}
		if t.have > before {
			idle = 1
		}
		if idle >= attempts || ever >= everMost {
			return fault.New(fault.Precondition, "%v; tried %d times", err, ever)
		}
		if t.same == "" {
			t.have = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause << min(idle-1, 5)):
		}
	}
}

// attempt asks for what is missing, and takes it.
func (t *transfer) attempt(ctx context.Context) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.raw, nil)
	if err != nil {
		return fault.New(fault.Invalid, "fetch the image: %w", err)
	}
	if t.have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.have))
		req.Header.Set("If-Range", t.same)
	}
	res, err := t.client.Do(req)
	if err != nil {
		return explain(ctx, err)
	}
	defer res.Body.Close()
	if err := t.begin(res); err != nil {
		return err
	}
	return t.receive(ctx, giveUp, res)
}

// begin reads the head of an answer: the whole content, or the rest that was asked for.
func (t *transfer) begin(res *http.Response) error {
	switch {
	case res.StatusCode == http.StatusPartialContent && t.have > 0:
		from, total, ok := contentRange(res.Header.Get("Content-Range"))
		if !ok || from != t.have || total != t.total {
			return fault.New(fault.Invalid, "fetch the image: its server gave another part than was asked for (%s)", short(res.Header.Get("Content-Range")))
		}
		return nil
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable && t.have > 0:
		t.have, t.same = 0, ""
		return fault.New(fault.Unavailable, "fetch the image: its server does not give the rest")
	case res.StatusCode != http.StatusOK:
		kind := fault.Invalid
		if res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout {
			kind = fault.Unavailable
		}
		return fault.New(kind, "fetch the image: its server says %s", short(res.Status))
	}
	t.have, t.total, t.same = 0, max(0, res.ContentLength), ""
	if res.Header.Get("Accept-Ranges") == "bytes" && t.total > 0 {
		if tag := res.Header.Get("ETag"); strings.HasPrefix(tag, `"`) { // a weak one says less than byte for byte
			t.same = tag
		} else {
			t.same = res.Header.Get("Last-Modified")
		}
	}
	most := t.most()
	if t.total > most {
		return fault.New(fault.Invalid, "fetch the image: it has %d MiB; at most %d are taken", t.total/mib, most/mib)
	}
	return enough(t.out.Name(), t.total)
}

func contentRange(text string) (from, total int64, ok bool) {
	text, bytes := strings.CutPrefix(text, "bytes ")
	span, of, whole := strings.Cut(text, "/")
	first, _, dash := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	total, err2 := strconv.ParseInt(of, 10, 64)
	return from, total, bytes && whole && dash && err == nil && err2 == nil
}

func (t *transfer) receive(ctx context.Context, giveUp context.CancelCauseFunc, res *http.Response) error {
	if _, err := t.out.Seek(t.have, io.SeekStart); err != nil {
		return fault.New(fault.Internal, "keep the image: %w", err)
	}
	if err := t.out.Truncate(t.have); err != nil {
		return fault.New(fault.Internal, "keep the image: %w", err)
	}
	idle := t.Idle
	if idle == 0 {
		idle = time.Minute
	}
	timer := time.AfterFunc(idle, func() {
		giveUp(fault.New(fault.Unavailable, "fetch the image: nothing came for %s", idle))
	})
	defer timer.Stop()
	start, most := t.have, t.most()
	body := &metered{r: io.LimitReader(res.Body, most-start+1), read: func(done int64) {
		timer.Reset(idle)
		t.have = start + done
		t.tell(t.have, t.total)
	}}
	_, err := io.Copy(&roomy{w: t.out, path: t.out.Name()}, body)
	switch {
	case t.have > most:
		return fault.New(fault.Invalid, "fetch the image: it has more than %d MiB; no more are taken", most/mib)
	case err == nil && (t.total == 0 || t.have == t.total):
		return nil
	case err == nil || errors.Is(err, io.ErrUnexpectedEOF) && context.Cause(ctx) == nil:
		return t.short()
	case errors.Is(err, syscall.ENOSPC) || fault.Is(err, fault.Exhausted):
		return noSpace(err)
	}
	return explain(ctx, err)
}

// short says that the content ended too early. It is final unless the rest can be asked for.
func (t *transfer) short() error {
	kind, of := fault.Invalid, ""
	if t.same != "" {
		kind = fault.Unavailable
	}
	if t.total > 0 {
		of = fmt.Sprintf(" of %d", t.total)
	}
	return fault.New(kind, "fetch the image: what its server sent is cut off: it ended after %d%s bytes", t.have, of)
}

// explain gives a failed request its kind: what another attempt cannot mend is final.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return fault.Wrap(e, "fetch the image")
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.New(fault.Invalid, "fetch the image: the certificate of its server is not accepted: %w", err)
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok && name.IsNotFound {
		return fault.New(fault.Invalid, "fetch the image: there is no server %q", short(name.Name))
	}
	if _, alert := errors.AsType[tls.AlertError](err); alert || errors.Is(err, http.ErrSchemeMismatch) {
		return fault.New(fault.Invalid, "fetch the image: its server does not speak TLS as is wanted: %w", err)
	}
	return fault.New(fault.Unavailable, "fetch the image: %w", err)
}

func (d Downloader) most() int64 {
	if d.MaxMiB == 0 {
		return 64 << 30
	}
	return d.MaxMiB * mib
}

// client calls only what may be called. It uses no proxy: one would resolve names by itself.
func (d Downloader) client(inside bool) *http.Client {
	dialer := &net.Dialer{Timeout: 20 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return d.Reach.Judge(to.Addr(), inside)
	}}
	return &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 20 * time.Second, TLSClientConfig: &tls.Config{RootCAs: d.Roots},
			ResponseHeaderTimeout: time.Minute, DisableCompression: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			if len(before) > redirects {
				return fault.New(fault.Invalid, "it is sent from one place to the next, more than %d times", redirects)
			}
			return CheckURL(next.URL.String())
		},
	}
}
