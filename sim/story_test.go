package sim

import (
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var seedFlag = flag.Uint64("seed", 1, "the seed that the stories are told with")

func TestMain(m *testing.M) {
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil))) // what goes wrong on purpose fills pages
	os.Exit(m.Run())
}

func stories(t *testing.T) map[string]Story {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	out := map[string]Story{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		if out[name], err = ParseStory(name, text); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestStories tells every story; VIRGA_SIM_SEEDS asks for every effect of every interruption.
func TestStories(t *testing.T) {
	most := 2
	if os.Getenv("VIRGA_SIM_SEEDS") != "" {
		most = 0
	}
	for name, story := range stories(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runs, err := story.Run(*seedFlag, most)
			if err != nil {
				t.Fatalf("%v\nagain: go test ./sim -run 'TestStories/%s$' -seed %d", err, name, *seedFlag)
			}
			t.Logf("told %d times", runs)
		})
	}
}

func TestASeedIsToldTheSameWayTwice(t *testing.T) {
	all := stories(t)
	for _, name := range []string{"create-delete", "guest-crashes", "migrate", "partition"} {
		for _, seed := range []uint64{1, 2} {
			story := all[name]
			one, err := story.once(seed, 0, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			two, err := story.once(seed, 0, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if one.Hash() != two.Hash() {
				t.Errorf("%s, seed %d: two runs differ", name, seed)
			}
		}
	}
}
