package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "dist was built of the sources as they are now")

// sources are what the build is made of.
var sources = []string{"index.html", "package.json", "package-lock.json", ".npmrc", "tsconfig.json", "vite.config.ts", "public", "src"}

// sourceHash is of the names and contents of all sources.
func sourceHash(t *testing.T) string {
	t.Helper()
	sum := sha256.New()
	for _, top := range sources {
		err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(name)
			one := sha256.Sum256(data)
			_, _ = io.WriteString(sum, filepath.ToSlash(name)+" "+hex.EncodeToString(one[:])+"\n")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)) + "\n"
}

func TestTheBuiltConsoleIsOfTheseSources(t *testing.T) {
	now := sourceHash(t)
	if *update {
		if err := os.WriteFile("dist/SOURCE", []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if built, err := os.ReadFile("dist/SOURCE"); err != nil || string(built) != now {
		t.Errorf("web/dist is not built of the sources in web (%v); run make web, and commit both", err)
	}
}

// What a browser loads before it shows the first page: what index.html names.
func TestTheFirstPageIsSmall(t *testing.T) {
	const most = 450 << 10
	page, err := built.ReadFile("dist/index.html")
	if err != nil {
		t.Fatal(err)
	}
	total := len(packed("x.html", page).small)
	for _, m := range regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`).FindAllStringSubmatch(string(page), -1) {
		a := assets()[m[1]]
		if a == nil {
			t.Fatalf("there is no %s", m[1])
		}
		total += len(a.small)
	}
	t.Logf("%d kB of %d", total>>10, most>>10)
	if total > most || total < 100<<10 {
		t.Errorf("the first page takes %d bytes; at most %d", total, most)
	}
}

func ask(method, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	Console(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })).ServeHTTP(w, r)
	return w.Result()
}

func TestEveryPageIsTheConsoleAndEverythingElseTheAPI(t *testing.T) {
	for _, page := range []string{"/", "/vms?q=a", "/projects/default/vms/web", "/sign-in"} {
		r := ask("GET", page, "Accept", "text/html,*/*")
		body, _ := io.ReadAll(r.Body)
		if r.StatusCode != 200 || !bytes.Contains(body, []byte(`<div id="root">`)) {
			t.Errorf("%s: %d %s", page, r.StatusCode, body)
		}
		for header, want := range map[string]string{"Content-Security-Policy": "script-src 'self';", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"} {
			if !strings.Contains(r.Header.Get(header), want) {
				t.Errorf("%s: %s is %q", page, header, r.Header.Get(header))
			}
		}
	}
	for _, other := range [][]string{{"GET", "/v1/vms", "text/html"}, {"GET", "/docs", "text/html"}, {"POST", "/", "text/html"}, {"GET", "/vms", "application/json"}, {"GET", "/assets/none.js", "text/html"}, {"GET", "/v1", "text/html"}} {
		if r := ask(other[0], other[1], "Accept", other[2]); r.StatusCode != http.StatusTeapot {
			t.Errorf("%v is answered by the console: %d", other, r.StatusCode)
		}
	}
}

func TestFilesAreSentSmallAndOnce(t *testing.T) {
	r := ask("GET", "/assets/index.js", "Accept-Encoding", "br, gzip;q=0.8")
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(text, assets()["/assets/index.js"].plain) {
		t.Errorf("what was sent is another file: %v", err)
	}
	if again := ask("GET", "/assets/index.js", "Accept-Encoding", "gzip", "If-None-Match", r.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("asked again: %d", again.StatusCode)
	}
	if plain := ask("GET", "/assets/index.js", "Accept-Encoding", "gzip;q=0"); plain.Header.Get("Content-Encoding") != "" || plain.Header.Get("ETag") == r.Header.Get("ETag") {
		t.Errorf("who takes no gzip gets %v", plain.Header)
	}
}

// Nothing is loaded from another server, and no address of where packages came from is in what is handed out.
func TestTheConsoleKnowsNoOtherServer(t *testing.T) {
	for name, a := range assets() {
		if name == "/LICENSES.txt" {
			continue
		}
		for _, m := range regexp.MustCompile(`(?:src|href)="(?:https?:)?//[^"]+|import\(?["']https?:[^"']+|url\(["']?https?:[^)]+`).FindAll(a.plain, -1) {
			t.Errorf("%s loads %s", name, m)
		}
	}
	lock, err := os.ReadFile("package-lock.json")
	if err != nil || strings.Contains(string(lock), `"resolved"`) {
		t.Errorf("the lock file names where packages were fetched from (%v); run npm install in web, which leaves it out by .npmrc", err)
	}
}

// words reads a language, as "menu.vms": "VMs".
func words(t *testing.T, file string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]map[string]string
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for group, in := range tree {
		for key, text := range in {
			out[group+"."+key] = text
		}
	}
	return out
}

var hole = regexp.MustCompile(`\{\{\w+\}\}`)

func TestBothLanguagesSayEverythingAndNothingTwice(t *testing.T) {
	en, zh := words(t, "src/words/en.json"), words(t, "src/words/zh-CN.json")
	for key := range maps.Keys(zh) {
		if en[key] == "" {
			t.Errorf("%s is in Chinese only", key)
		}
	}
	code := sourceText(t)
	for key, text := range en {
		if zh[key] == "" {
			t.Errorf("%s is not said in Chinese: %q", key, text)
			continue
		}
		a, b := hole.FindAllString(text, -1), hole.FindAllString(zh[key], -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			t.Errorf("%s has other holes in Chinese: %v, %v", key, a, b)
		}
		group, _, _ := strings.Cut(key, ".")
		if !strings.Contains(code, "'"+key+"'") && !strings.Contains(code, "`"+group+".${") {
			t.Errorf("%s is said nowhere; remove it", key)
		}
	}
}

func sourceText(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir("src", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".ts") && !strings.HasSuffix(name, ".tsx") {
			return err
		}
		data, err := os.ReadFile(name)
		out.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
