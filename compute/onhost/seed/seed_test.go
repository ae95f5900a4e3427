package seed

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdomanski/iso9660"
)

var update = flag.Bool("update", false, "write the golden files anew")

var cases = map[string]Facts{
	"plain": {
		InstanceID: "i-1", Hostname: "web", SSHKeys: []string{"ssh-ed25519 AAAA one", "ssh-rsa BBBB two"},
		NICs: []NIC{{MAC: "52:54:00:AB:00:01", MTU: 1442}, {MAC: "52:54:00:ab:00:02"}},
	},
	"userdata": {InstanceID: "i-2", Hostname: "db", UserData: []byte("#!/bin/sh\necho as it is\n"), SSHKeys: []string{"ssh-ed25519 AAAA me", `command="echo \"hi\"" ssh-rsa BBBB two`}},
}

func TestSeedCarriesKeysBesideEveryKindOfUserData(t *testing.T) {
	for _, data := range []string{"", "#!/bin/sh\ntrue\n", "#cloud-config\n", "\x1f\x8b\x08gzip", " \n"} {
		files, err := Make(Facts{InstanceID: "i", Hostname: "h", SSHKeys: []string{"ssh-ed25519 AAAA me"}, UserData: []byte(data)})
		if err != nil || !strings.Contains(files["meta-data"], "public-keys:\n- ssh-ed25519 AAAA me\n") {
			t.Errorf("%q: %v\n%s", data, err, files["meta-data"])
		}
		if data != "" && files["user-data"] != data {
			t.Errorf("user data %q came out as %q", data, files["user-data"])
		}
	}
}

func TestTheContentsAreAsInTheGoldenFiles(t *testing.T) {
	for name, facts := range cases {
		files, err := Make(facts)
		if err != nil {
			t.Fatal(err)
		}
		for file, got := range files {
			path := filepath.Join("testdata", name, file)
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(path); err != nil || string(want) != got {
				t.Errorf("%s (run with -update to accept): %v\n%s", path, err, got)
			}
		}
	}
}

func TestSeedDiskHoldsTheFilesByteForByte(t *testing.T) {
	facts := cases["userdata"]
	facts.UserData = make([]byte, 256) // as gzip has them: not UTF-8, zeros, line ends
	for i := range facts.UserData {
		facts.UserData[i] = byte(i)
	}
	files, err := Make(facts)
	if err != nil || files["user-data"] != string(facts.UserData) {
		t.Fatal("user data was changed", err)
	}
	path := filepath.Join(t.TempDir(), "seed.iso")
	for range 2 { // the second takes the first's place
		if err := Write(path, files); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	image, err := iso9660.OpenImage(f)
	if err != nil {
		t.Fatal(err)
	}
	if label, err := image.Label(); err != nil || label != Label {
		t.Errorf("label %q, %v", label, err)
	}
	root, err := image.RootDir()
	if err != nil {
		t.Fatal(err)
	}
	children, err := root.GetChildren()
	if err != nil || len(children) != len(files) {
		t.Fatalf("%d files, %v", len(children), err)
	}
	for _, c := range children {
		data, err := io.ReadAll(c.Reader())
		if err != nil || files[c.Name()] != string(data) {
			t.Errorf("%q: %q, %v", c.Name(), data, err)
		}
	}
}
