package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// examples are the blocks of a page. The comment before each says whether it is run here, or shown
// only, and then why.
var examples = regexp.MustCompile("(?s)(?:<!-- (runs|shown)([^>]*) -->\n)?```sh\n(.*?)```")

// script gives the commands of a page that are run, as one script. A block without a mark is an error.
func script(page string) (string, error) {
	var out strings.Builder
	for _, block := range examples.FindAllStringSubmatch(page, -1) {
		switch mark, why := block[1], strings.TrimPrefix(block[2], ":"); {
		case mark == "":
			return "", fmt.Errorf("say <!-- runs --> or <!-- shown: why --> on the line before this block:\n%s", block[3])
		case mark == "shown" && strings.TrimSpace(why) == "":
			return "", fmt.Errorf("say why this block is only shown, <!-- shown: why -->:\n%s", block[3])
		case mark == "runs":
			out.WriteString(block[3])
		}
	}
	return out.String(), nil
}

// workplace is a folder as a person has it after make run: with bin/virga, which here speaks to the
// host of the lab.
func (h *Host) workplace() string {
	t, dir := h.cloud.t, filepath.Join(h.cloud.dir, "place")
	for _, folder := range []string{filepath.Join(dir, "bin"), filepath.Join(h.cloud.dir, "srv")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" --run %s\n", h.cloud.binary, h.Run)
	if err := os.WriteFile(filepath.Join(dir, "bin", "virga"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTheGuideWorksAsPrinted runs the examples of the guide, page by page, on a cloud like that of
// make run: image tiny and VM hello are there. Each line must succeed.
func TestTheGuideWorksAsPrinted(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	h.Must("up", "--state", h.State, "--name", h.Name, "--address", h.Address, "--uplink", "ul0")
	h.ImportTiny()
	h.Must("vm", "create", "hello", "--image", "tiny", "--memory", "128MiB", "--wait")
	h.Guest("hello").Wait(boot, `VIRGA-READY hello `)
	pages, err := filepath.Glob("../docs/guide/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("there are no pages", err)
	}
	place := h.workplace()
	// The state folder and the folders of data are this run's own.
	own := strings.NewReplacer("/var/lib/virga", h.State, "/srv/", filepath.Join(c.dir, "srv")+"/")
	for _, page := range pages {
		if filepath.Base(page) == "bad-days.md" {
			continue // it breaks the cloud on purpose
		}
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			commands, err := script(string(text))
			if err != nil {
				t.Fatalf("%s: %v", page, err)
			}
			if strings.Contains(commands, "curl ") {
				if _, err := exec.LookPath("curl"); err != nil {
					t.Skip("the page speaks with curl, which is not here")
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			// -x prints each command before it runs, so the last one told is the one that failed.
			cmd := h.Command(ctx, "bash", "-e", "-u", "-x", "-o", "pipefail", "-c", own.Replace(commands))
			cmd.Dir, cmd.Env = place, append(os.Environ(), "PATH="+filepath.Join(place, "bin")+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s does not work as printed: %v\n%s", page, err, out)
			} else if testing.Verbose() {
				t.Logf("%s", out)
			}
		})
	}
}

func TestTheMarksOfAPageAreRead(t *testing.T) {
	got, err := script("<!-- runs -->\n```sh\na\n```\n<!-- shown: two hosts -->\n```sh\nb\n```\n<!-- runs -->\n```sh\nc\n```\n")
	if err != nil || got != "a\nc\n" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"```sh\na\n```\n", "<!-- shown -->\n```sh\na\n```\n"} {
		if _, err := script(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
