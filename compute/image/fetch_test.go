package image

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

// source is a web server that counts what it is asked.
type source struct {
	*httptest.Server
	asked atomic.Int64
}

func newSource(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int64)) *source {
	s := &source{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r, s.asked.Add(1)) }))
	t.Cleanup(s.Close)
	return s
}

func fetch(t *testing.T, d Downloader, url string) ([]byte, error) {
	t.Helper()
	if d.Reach.Allow == nil {
		d.Reach.Allow = prefixes("127.0.0.0/8", "::1/128")
	}
	d.Pause, d.Attempts = time.Millisecond, 3
	to := filepath.Join(t.TempDir(), "to")
	err := d.Fetch(t.Context(), url, to, false, func(int64, int64) {})
	if _, left := os.Stat(to + half); left == nil {
		t.Error("half a download is left")
	}
	data, _ := os.ReadFile(to)
	return data, err
}

func TestDownloadThatBreaksOffIsTakenUpWhereItWas(t *testing.T) {
	content := make([]byte, 300000)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(content)
	for name, change := range map[string]bool{"the same": false, "another meanwhile": true} {
		tag := `"one"`
		s := newSource(t, func(w http.ResponseWriter, r *http.Request, n int64) {
			if change && n == 3 {
				tag = `"two"`
				content = append([]byte{1}, content...)
			}
			w.Header().Set("ETag", tag)
			if n < 5 { // each time a little more
				w = &cutter{w, 50000}
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		})
		data, err := fetch(t, Downloader{}, s.URL)
		if err != nil || !bytes.Equal(data, content) {
			t.Errorf("%s: %v, %d bytes of %d", name, err, len(data), len(content))
		}
		if n := s.asked.Load(); n != 5 {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
}

// cutter lets a number of bytes pass and ends the connection.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	_, _ = c.ResponseWriter.Write(p[:n])
	if c.left == 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func TestDownloadEndsAtOnceWhereAnotherAttemptCannotHelp(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(secure.Certificate())
	plain := newSource(t, func(w http.ResponseWriter, r *http.Request, _ int64) {
		switch r.URL.Path {
		case "/cut":
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(make([]byte, 70000))
		case "/chunked":
			_, _ = w.Write(make([]byte, 70000))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			code, _ := strconv.Atoi(r.URL.Path[1:])
			w.WriteHeader(code)
		}
	})
	for url, says := range map[string]string{
		plain.URL + "/404": "404 Not Found", plain.URL + "/403": "403 Forbidden", plain.URL + "/410": "410", plain.URL + "/416": "416",
		plain.URL + "/cut": "ended after 70000 of 100000 bytes", plain.URL + "/chunked": "ended after 70000 bytes",
		secure.URL: "certificate", strings.Replace(plain.URL, "http:", "https:", 1): "does not speak TLS",
		"http://nothing.invalid/": "nothing.invalid",
	} {
		before := plain.asked.Load()
		_, err := fetch(t, Downloader{}, url)
		if err == nil || fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", url, err)
		}
		if n := plain.asked.Load() - before; n > 1 {
			t.Errorf("%s: asked %d times", url, n)
		}
	}
	if _, err := fetch(t, Downloader{Roots: trusted}, secure.URL); !strings.Contains(fmt.Sprint(err), "404") {
		t.Errorf("with the right certificate: %v", err)
	}
}

func TestDownloadIsTriedAgainWhileThatMayHelpAndNotForEver(t *testing.T) {
	s := newSource(t, func(w http.ResponseWriter, _ *http.Request, n int64) {
		if n < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte("content"))
	})
	if data, err := fetch(t, Downloader{}, s.URL); err != nil || string(data) != "content" {
		t.Errorf("%q %v", data, err)
	}
	s = newSource(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { w.WriteHeader(http.StatusBadGateway) })
	if _, err := fetch(t, Downloader{}, s.URL); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "502") || s.asked.Load() != 3 {
		t.Errorf("asked %d times: %v", s.asked.Load(), err)
	}
	s = newSource(t, func(w http.ResponseWriter, r *http.Request, _ int64) {
		_, _ = w.Write([]byte("a little"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	if _, err := fetch(t, Downloader{Idle: 30 * time.Millisecond}, s.URL); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "nothing came for") {
		t.Errorf("stalled: %v", err)
	}
}

func TestDownloadReachesNothingOfTheServersOwn(t *testing.T) {
	inner := newSource(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { _, _ = w.Write([]byte("SECRET")) })
	port := inner.URL[strings.LastIndex(inner.URL, ":"):]
	only := Reach{Allow: prefixes("127.0.0.9/32")}
	for _, url := range []string{inner.URL, "http://localhost" + port, "http://[::ffff:127.0.0.1]" + port, "http://127.0.0.1:1/", "http://0x7f000001:1/", "http://2130706433/", "http://127.1/", "http://0177.0.0.01/", "http://[::1]:1/", "http://169.254.169.254/latest"} {
		if _, err := fetch(t, Downloader{Reach: only}, url); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "may not be called") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if n := inner.asked.Load(); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestDownloadFollowsNoRedirectToTheServersOwn(t *testing.T) {
	inner := newSource(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { _, _ = w.Write([]byte("SECRET")) })
	outer := newSource(t, func(w http.ResponseWriter, r *http.Request, _ int64) {
		http.Redirect(w, r, strings.Replace(inner.URL, "127.0.0.1", "127.0.0.2", 1), http.StatusFound)
	})
	_, err := fetch(t, Downloader{Reach: Reach{Allow: prefixes("127.0.0.1/32")}}, outer.URL)
	if !fault.Is(err, fault.Denied) || inner.asked.Load() != 0 || outer.asked.Load() != 1 {
		t.Errorf("%v, asked %d", err, inner.asked.Load())
	}
}

func TestContentRangesAreReadStrictly(t *testing.T) {
	for text, want := range map[string][2]int64{"bytes 5-9/10": {5, 10}, "bytes 0-0/1": {0, 1}} {
		if from, total, ok := contentRange(text); !ok || from != want[0] || total != want[1] {
			t.Errorf("%q: %d %d %v", text, from, total, ok)
		}
	}
	for _, text := range []string{"", "bytes */10", "bytes 5-9/*", "5-9/10", "bytes 5/10", "bytes x-9/10"} {
		if _, _, ok := contentRange(text); ok {
			t.Errorf("%q was read", text)
		}
	}
}
