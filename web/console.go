package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed all:dist
var built embed.FS

// policy lets the page run its own scripts alone, and talk to its own server alone. Styles may stand in the page:
// the libraries of components and of the terminal make them as they go.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// reading is how long a browser may take to read a file.
const reading = time.Minute

// asset is a file of the console, also as it is sent to who takes gzip.
type asset struct {
	media, tag   string
	plain, small []byte
}

var assets = sync.OnceValue(func() map[string]*asset {
	out := map[string]*asset{}
	_ = fs.WalkDir(built, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := built.ReadFile(name)
		if err != nil {
			return err
		}
		out[strings.TrimPrefix(name, "dist")] = packed(name, data)
		return nil
	})
	return out
})

func packed(name string, data []byte) *asset {
	sum := sha256.Sum256(data)
	var small bytes.Buffer
	z, _ := gzip.NewWriterLevel(&small, gzip.BestCompression)
	_, _ = z.Write(data)
	_ = z.Close()
	media := mime.TypeByExtension(path.Ext(name))
	if media == "" {
		media = "application/octet-stream"
	}
	return &asset{media: media, tag: hex.EncodeToString(sum[:12]), plain: data, small: small.Bytes()}
}

// Console hands out the console, and everything else to next. A page of the console has an address of its own:
// whatever a browser opens that is no file and no path of the API begins the program, which looks at the address.
func Console(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		a := assets()[r.URL.Path]
		if a == nil && isPage(r) {
			a = assets()["/index.html"]
		}
		if a == nil {
			next.ServeHTTP(w, r)
			return
		}
		a.serve(w, r)
	})
}

// isPage reports whether a browser wants to show what is there.
func isPage(r *http.Request) bool {
	for _, other := range []string{"/v1", "/docs", "/openapi.json", "/ready", "/local", "/assets"} {
		if r.URL.Path == other || strings.HasPrefix(r.URL.Path, other+"/") {
			return false
		}
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.media)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // names are stable: the browser asks, and is told that nothing has changed
	h.Set("Vary", "Accept-Encoding")
	data, tag := a.plain, `"`+a.tag+`"`
	if takesGzip(r.Header.Get("Accept-Encoding")) && len(a.small) < len(a.plain) {
		data, tag = a.small, `"`+a.tag+`-gz"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reading))
	_, _ = w.Write(data)
}

func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		coding, parameters, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			return strings.ReplaceAll(parameters, " ", "") != "q=0"
		}
	}
	return false
}
