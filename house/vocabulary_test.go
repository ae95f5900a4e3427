package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// banned is a word that docs/words.md has on its left side, and what to say instead.
type banned struct {
	word    *regexp.Regexp
	instead string
}

// The left side of docs/words.md. In exported names a word begins with a capital letter.
var vocabulary = []banned{
	{word(`machines?`), "VM; host, if it is hardware"},
	{word(`wish(?:e[sd])?`), "desired state, spec; as specified"},
	{regexp.MustCompile(`(?i)\b(?:is|are|was|were|be|been|not)(?:\s+(?:not|yet|been|be))*\s+heard\b(?:\s+again\b)?|\bunheard\b`), "unreachable; heartbeat lost, restored"},
	{word(`emulators?`), "QEMU, QEMU process, hypervisor"},
	{word(`cards?`), "NIC"},
	{word(`cables?`), "link, veth pair"},
	{word(`confine[sd]?`), "pinned; limited, if it is to a project"},
	{word(`caretakers?`), "owner host"},
	{word(`plugs?`), "port binding"},
	{regexp.MustCompile(`(?i)\bzones? of DNS\b`), "DNS zone"},
	{regexp.MustCompile(`(?i)\bstorage resources?\b`), "storage backend"},
	{word(`ledgers?`), "writer registry"},
	{word(`keepers?`), "certificate rotator; supervisor"},
	{word(`minders?`), "supervisor"},
	{word(`part(?:y|ies)`), "owner, writer, holder"},
	{word(`hearsay`), "event cache"},
	{word(`hubs?`), "watch fan-out"},
	{word(`rooms?`), "capacity, free space"},
	{word(`scenes?`), "desired state of the network"},
	{word(`laws?`), "invariants"},
	{word(`quiet`), "quiescence, idle"},
	{regexp.MustCompile(`(?i)\b(?:return|wait until|when) it is so\b|\breturn when\b|\bhow to say it\b|\bwho are you\b`), "wait until ready; output format; unauthenticated"},
}

// word matches it alone, and as a part of a name: PlugID, aPlug.
func word(w string) *regexp.Regexp {
	return regexp.MustCompile(`\b(?i:` + w + `)\b|\b\w*(?:` + strings.ToUpper(w[:1]) + w[1:] + `)(?:[A-Z0-9]\w*)?\b`)
}

// Terms of the trade that contain a word of the left side. Keep it short: each is what everybody calls it.
var trade = regexp.MustCompile(`(?i)virtual machines?|physical machines?|state machines?|machine[- ]types?|MachineTypes?|machine-id|q35 machines?|microvm machine|` +
	`QEMU's machine protocol|` + // the name of QMP
	`"?-machine\b|/machine/peripheral|` + // the flag and the tree of QEMU
	`third part(?:y|ies)|(?:ha[sd]|have) (?:not|never) heard`) // who listens, not who is silent

// complaint is one wrong word in a text.
type complaint struct {
	line          int
	word, instead string
}

// wrongWords finds the words of the left side in a text that begins at a line.
func wrongWords(text string, line int) []complaint {
	clean := trade.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("~", len(s)) })
	var out []complaint
	for _, b := range vocabulary {
		for _, at := range b.word.FindAllStringIndex(clean, -1) {
			out = append(out, complaint{line + strings.Count(clean[:at[0]], "\n"), clean[at[0]:at[1]], b.instead})
		}
	}
	slices.SortFunc(out, func(a, b complaint) int { return a.line - b.line })
	return out
}

// The page that lists the words, and code that is made from the names of others.
var otherTongues = []string{"docs/words.md", "network/ovn/nbdb/", "network/onhost/vswitchdb/", "house/"}

func spoken(path string) bool {
	return !slices.ContainsFunc(otherTongues, func(p string) bool { return strings.HasPrefix(path, p) })
}

func TestPagesAndTheAPISayTheFieldsWords(t *testing.T) {
	pages := 0
	for _, file := range ours(t).files {
		page := strings.HasSuffix(file, ".md") || file == "docs/api/openapi.yaml" || strings.HasSuffix(file, ".sh") || file == "Makefile"
		if !page || !spoken(file) || strings.Contains(file, "testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue // gone since the tree was read
		}
		pages++
		for _, c := range wrongWords(string(text), 1) {
			t.Errorf("%s:%d: %q: say %s (docs/words.md)", file, c.line, c.word, c.instead)
		}
	}
	if pages < 15 {
		t.Errorf("only %d pages were read", pages)
	}
}

// What a person meets of the code: its texts, the names that others use, and what is said of them.
func TestCodeSaysTheFieldsWords(t *testing.T) {
	tree := ours(t)
	for _, f := range tree.gos {
		if f.test || f.generated || !spoken(f.path) {
			continue
		}
		for _, c := range wrongInCode(tree.fset, f.ast) {
			t.Errorf("%s:%d: %q: say %s (docs/words.md)", f.path, c.line, c.word, c.instead)
		}
	}
}

func wrongInCode(fset *token.FileSet, f *ast.File) (out []complaint) {
	met := func(at token.Pos, text string) { out = append(out, wrongWords(text, fset.Position(at).Line)...) }
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind == token.STRING && !ofThePlatform(n.Value) {
				met(n.Pos(), n.Value)
			}
		case *ast.Ident:
			if n.IsExported() && declared(f, n) {
				met(n.Pos(), n.Name)
			}
		}
		return true
	})
	for _, c := range documentation(f) {
		met(c.Pos(), c.Text())
	}
	return out
}

// ofThePlatform is what we hand to other programs: kernel command lines and format strings of theirs.
func ofThePlatform(literal string) bool {
	return strings.Contains(literal, "console=ttyS0") || strings.Contains(literal, "console=tty0")
}

// declared reports whether a file gives something this name.
func declared(f *ast.File, id *ast.Ident) bool {
	for _, d := range f.Decls {
		if d.Pos() > id.Pos() || id.Pos() > d.End() {
			continue
		}
		switch d := d.(type) {
		case *ast.FuncDecl:
			return d.Name == id
		case *ast.GenDecl:
			return names(d, id)
		}
	}
	return false
}

func names(d *ast.GenDecl, id *ast.Ident) (found bool) {
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			found = found || n.Name == id
		case *ast.ValueSpec:
			found = found || slices.Contains(n.Names, id)
		case *ast.Field:
			found = found || slices.Contains(n.Names, id)
		case *ast.FuncLit:
			return false
		}
		return !found
	})
	return found
}

// documentation gives the comments of the package and of exported names.
func documentation(f *ast.File) (out []*ast.CommentGroup) {
	add := func(exported bool, groups ...*ast.CommentGroup) {
		for _, g := range groups {
			if exported && g != nil {
				out = append(out, g)
			}
		}
	}
	add(true, f.Doc)
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			add(d.Name.IsExported(), d.Doc)
		case *ast.GenDecl:
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GenDecl:
					add(speaks(n), n.Doc)
				case *ast.TypeSpec:
					add(n.Name.IsExported(), n.Doc, n.Comment)
				case *ast.ValueSpec:
					add(n.Names[0].IsExported(), n.Doc, n.Comment)
				case *ast.Field:
					add(len(n.Names) > 0 && n.Names[0].IsExported(), n.Doc, n.Comment)
				}
				return true
			})
		}
	}
	return out
}

// speaks reports whether a declaration gives others a name.
func speaks(d *ast.GenDecl) bool {
	return slices.ContainsFunc(d.Specs, func(s ast.Spec) bool {
		switch s := s.(type) {
		case *ast.TypeSpec:
			return s.Name.IsExported()
		case *ast.ValueSpec:
			return slices.ContainsFunc(s.Names, (*ast.Ident).IsExported)
		}
		return false
	})
}

func TestTheCheckOfCodeReadsTextsExportedNamesAndTheirComments(t *testing.T) {
	const sample = `// Package x has a plug.
package x

// Ledger is a keeper.
type Ledger struct {
	// Name of a card.
	Name  string
	hub   int // a room, which is ours alone
	Cable string
}

// scene is ours alone, and so is a hub.
type scene struct{}

// give is ours alone, and may speak of a scene.
func give() error { return fault.New(fault.Invalid, "start machine %s: no emulator", "plug") }

// Wish is said aloud.
func (l *Ledger) Wish() { keeper := 1; _ = keeper }
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", sample, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range wrongInCode(fset, f) {
		got = append(got, c.word)
	}
	slices.Sort(got)
	want := []string{"Cable", "Ledger", "Ledger", "Wish", "Wish", "card", "emulator", "keeper", "machine", "plug", "plug"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestTheCheckOfWordsFindsWhatIsWrongAndNothingElse(t *testing.T) {
	for text, want := range map[string]string{
		"a machine has a wish":                      "machine wish",
		"host h1 is not heard any more":             "is not heard",
		"it is heard again":                         "is heard again",
		"the emulator of a network card":            "emulator card",
		"PlugID":                                    "PlugID",
		"aPlug and NewLedger":                       "aPlug NewLedger",
		"no room on the disk":                       "room",
		"as wished":                                 "wished",
		"return when it is so":                      "Return when",
		"two\nlines, one caretaker":                 "caretaker",
		"machine type q35, /etc/machine-id":         "",
		"virtual machines and a physical machine":   "",
		"discard, a wildcard, unplugged, hotplug":   "",
		"a host that has not heard that it is late": "",
		"a server that has never heard of it":       "",
		"the parties":                               "parties",
		"MachineType is pc-q35-7.2":                 "",
		"desired state, NIC, port binding":          "",
		"the race for mushrooms and flaws":          "",
	} {
		var got []string
		for _, c := range wrongWords(text, 1) {
			got = append(got, c.word)
		}
		if !strings.EqualFold(strings.Join(got, " "), want) {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
	if c := wrongWords("a\nb\na plug", 7); len(c) != 1 || c[0].line != 9 {
		t.Errorf("the line is %+v", c)
	}
}
