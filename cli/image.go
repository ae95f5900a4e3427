package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func images() *noun {
	return &noun{api: client.As[record](client.Images), group: groupVMs, sample: "tiny", short: "Images that VMs start from",
		long:  "An image is a disk that new VMs start from: imported from a file or a URL, or built from\npackages. debian/12 and debian-12 name the same image. One that another project has published or shared\nis found by its name, or by PROJECT/NAME where several have that name.",
		verbs: everyVerb, commands: imageCommands, spell: spellImage, states: []string{"failed"},
		columns: []column{
			state("State"), sized("Size", at(&imageOf.Status.SizeMiB)), sized("Disk", at(&imageOf.Status.VirtualMiB)), computed("Source", sourceText),
			field("Project", "project").wide(), field("Visibility", at(&imageOf.Spec.Visibility)).wide(), name("Shared with", "project", at(&imageOf.Spec.SharedWith)).only(), field("Format", at(&imageOf.Status.SourceFormat)).wide(), computed("Data disks", dataDisksText).only(), field("Left out", at(&imageOf.Status.LeftOut)).only(), sized("Min memory", at(&imageOf.Spec.MinMemoryMiB)).only(),
			field("Digest", at(&imageOf.Status.Digest)).only(), name("Operation", "operation", at(&imageOf.Status.OperationID)).only(), field("Description", at(&imageOf.Spec.Description)).only(), trouble(),
		}}
}

func dataDisksText(_ *lookup, r *record) string {
	var out []string
	for _, d := range r.list(at(&imageOf.Status.DataDisks)) {
		out = append(out, member(d, "name")+" ("+member(d, "virtualMiB")+" MiB)")
	}
	return strings.Join(out, ", ")
}

// recipeName is a recipe that is written as people say it: debian/12 is called debian-12. All else with
// a stroke is PROJECT/NAME.
var recipeName = regexp.MustCompile(`^(debian)/([0-9]+)$`)

func spellImage(name string) string { return recipeName.ReplaceAllString(name, "$1-$2") }

func sourceText(_ *lookup, r *record) string {
	switch kind := r.text(at(&imageOf.Spec.Source.Type)); kind {
	case "build":
		return "built: " + r.text(at(&imageOf.Spec.Source.Recipe))
	case "url":
		return r.text(at(&imageOf.Spec.Source.URL))
	default:
		return kind
	}
}

// imageFlags are those of both ways to make an image.
type imageFlags struct {
	visibility, description string
	sharedWith              []string
	minMemory               sizeFlag
	*making
}

func (s *session) addImageFlags(c *cobra.Command) *imageFlags {
	f := &imageFlags{}
	c.Flags().StringVar(&f.visibility, "visibility", "", "who may use it: project (its own alone), shared (see --share) or cloud (every project) (default project)")
	c.Flags().StringArrayVar(&f.sharedWith, "share", nil, "a project that may use it too; may be repeated")
	c.Flags().StringVar(&f.description, "description", "", "for people")
	c.Flags().Var(&f.minMemory, "min-memory", "the least memory that its guests need")
	fixed(c, "visibility", "project", "shared", "cloud")
	s.completeFlag(c, "share", "project")
	f.making = addMaking(c)
	return f
}

func (f *imageFlags) spec(source client.ImageSource) map[string]any {
	spec := map[string]any{key(&imageOf.Spec.Source): source}
	if f.visibility != "" {
		spec[key(&imageOf.Spec.Visibility)] = f.visibility
	}
	if len(f.sharedWith) > 0 {
		spec[key(&imageOf.Spec.SharedWith)] = f.sharedWith
	}
	if f.description != "" {
		spec[key(&imageOf.Spec.Description)] = f.description
	}
	if f.minMemory.mib > 0 {
		spec[key(&imageOf.Spec.MinMemoryMiB)] = f.minMemory.mib
	}
	return spec
}

func imageCommands(s *session, n *noun) []*cobra.Command {
	return []*cobra.Command{s.imageImport(n), s.imageBuild(n), s.imageShare(n), s.imagePublish(n), s.imageUnshare(n)}
}

func (s *session) imageShare(n *noun) *cobra.Command {
	var with []string
	c := &cobra.Command{Use: "share NAME --with PROJECT...", Short: "Let named projects use an image", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "The projects named are all that may use it besides its own: who is not named any more may not.\nDisks that were made from it stay.", Example: "  virga image share base --with shop --with lab"}
	c.Flags().StringArrayVar(&with, "with", nil, "a project that may use it; may be repeated")
	s.completeFlag(c, "with", "project")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(with) == 0 {
			return refuse("%s: say --with PROJECT, or use virga image unshare", called(cmd))
		}
		return s.show(cmd, n, args[0], "shared", with, "is shared with "+strings.Join(with, ", "))
	}
	return c
}

func (s *session) imagePublish(n *noun) *cobra.Command {
	return &cobra.Command{Use: "publish NAME", Short: "Let every project use an image", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "An administrator of its project or of the cloud may do this.", Example: "  virga image publish base",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.show(cmd, n, args[0], "cloud", []string{}, "is published")
		}}
}

func (s *session) imageUnshare(n *noun) *cobra.Command {
	return &cobra.Command{Use: "unshare NAME", Short: "Keep an image for its own project", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Disks that other projects have made from it stay.", Example: "  virga image unshare base",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.show(cmd, n, args[0], "project", []string{}, "is its project's alone")
		}}
}

func (s *session) show(cmd *cobra.Command, n *noun, name, visibility string, with []string, done string) error {
	return s.patch(cmd, n, name, map[string]any{"spec": map[string]any{key(&imageOf.Spec.Visibility): visibility, key(&imageOf.Spec.SharedWith): with}}, done)
}

func (s *session) imageBuild(n *noun) *cobra.Command {
	var called string
	c := &cobra.Command{Use: "build RECIPE", Short: "Build an image from packages", Args: exactly("RECIPE"),
		Long:              "Recipes: tiny, a Linux that boots in seconds, and debian/12. The image is called as the recipe,\nwith a dash for the stroke, unless --name says otherwise.",
		Example:           "  virga image build tiny --wait\n  virga image build debian/12 --name base --wait",
		ValidArgsFunction: cobra.FixedCompletions([]string{"tiny", "debian/12"}, cobra.ShellCompDirectiveNoFileComp)}
	c.Flags().StringVar(&called, "name", "", "what it is called (default: as the recipe)")
	f := s.addImageFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if called == "" {
			called = args[0]
		}
		return s.create(cmd, n, n.spelled(called), f.spec(client.ImageSource{Type: "build", Recipe: args[0]}), f.making)
	}
	return c
}

func (s *session) imageImport(n *noun) *cobra.Command {
	var file, url, checksum string
	c := &cobra.Command{Use: "import NAME --file FILE|--url URL", Short: "Import an image from a file or a URL", Args: exactly("NAME"),
		Long:              "The content may be qcow2, raw, vmdk, vhd, vhdx or ova, also compressed by gzip, bzip2, xz, zstd or lz4; it is\nchecked and converted. An OVA keeps all its disks: a VM made of it has them. An upload that was interrupted is\nbegun anew by the same command.",
		Example:           "  virga image import web --file web.qcow2 --wait\n  virga image import cirros --url https://example.org/cirros.img --checksum sha256:… --wait",
		ValidArgsFunction: cobra.NoFileCompletions}
	c.Flags().StringVar(&file, "file", "", "a file on this host")
	c.Flags().StringVar(&url, "url", "", "where the server fetches it, http or https")
	c.Flags().StringVar(&checksum, "checksum", "", "what the content must have: a sha256 or sha512 sum, the file or the URL of a list like SHA256SUMS")
	f := s.addImageFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if (file == "") == (url == "") {
			return refuse("%s: say either --file or --url", called(cmd))
		}
		source := client.ImageSource{Type: "url", URL: url}
		if file != "" {
			source = client.ImageSource{Type: "upload"}
		}
		if checksum != "" {
			sum, err := readSum(checksum, path.Base(file+strings.SplitN(url, "?", 2)[0]))
			if err != nil {
				return err
			}
			source.Checksum = sum
		}
		if url != "" {
			r, err := s.post(cmd, n, n.spelled(args[0]), f.spec(source), f.making)
			if err != nil {
				return err
			}
			return s.unlessRefused(cmd, n, r, s.made(cmd, n, r, f.making))
		}
		return s.imageUpload(cmd, n, n.spelled(args[0]), file, f.spec(source), f.making)
	}
	return c
}

// readSum takes a checksum as it is, or the lines about an image out of a file like SHA256SUMS.
func readSum(text, image string) (string, error) {
	data, err := os.ReadFile(text)
	if err != nil {
		return text, nil
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if slices.ContainsFunc(strings.Fields(strings.NewReplacer("(", " ", ")", " ", "*", " ").Replace(line)), func(word string) bool { return path.Base(word) == image }) {
			found = append(found, line)
		}
	}
	if len(found) == 0 {
		return "", refuse("--checksum: the list %s has none of %s", text, image)
	}
	return strings.Join(found, "\n"), nil
}

// imageUpload makes the record and sends the content. A record that still waits for its content,
// from an upload that was interrupted, is used.
func (s *session) imageUpload(cmd *cobra.Command, n *noun, name, file string, spec map[string]any, m *making) error {
	content, err := os.Open(file)
	if err != nil {
		return refuse("open the image: %v", err)
	}
	defer content.Close()
	info, err := content.Stat()
	if err == nil && !info.Mode().IsRegular() {
		return refuse("%s is no file", file)
	}
	if err != nil {
		return refuse("open the image: %v", err)
	}
	r, err := s.post(cmd, n, name, spec, m)
	if client.IsKind(err, "exists") {
		there, again := s.get(cmd.Context(), n, s.project, name)
		if again == nil && there.Deleting == nil && there.state() == "waiting" && there.text(at(&imageOf.Spec.Source.Type)) == "upload" {
			r, err = there, nil
		}
	}
	if err != nil {
		return err
	}
	if dry, _ := dryRun(cmd); dry {
		return s.made(cmd, n, r, m)
	}
	p := newProgress(cmd)
	body := &counted{Reader: content, total: info.Size(), begin: time.Now(), tell: func(text string) { p.say("image " + name + ": " + text) }}
	err = s.do(cmd.Context(), client.Call{Method: "PUT", Path: s.path(n, r.Project, r.Name, "content"), Body: body, Length: info.Size()})
	p.end()
	if err != nil {
		return s.unlessRefused(cmd, n, r, fmt.Errorf("send %s: %w", file, err))
	}
	if r, err = s.get(context.WithoutCancel(cmd.Context()), n, r.Project, r.ID); err != nil {
		return err
	}
	return s.unlessRefused(cmd, n, r, s.made(cmd, n, r, m))
}

// unlessRefused takes an image back whose content was refused while the caller waited: they were
// told why, and the same name shall be free for the next attempt.
func (s *session) unlessRefused(cmd *cobra.Command, n *noun, r *record, err error) error {
	if err == nil {
		return nil
	}
	ctx := context.WithoutCancel(cmd.Context())
	now, gone := s.get(ctx, n, r.Project, r.ID)
	if gone != nil || now.state() != "failed" && !client.IsKind(err, "invalid") {
		return err
	}
	if s.do(ctx, client.Call{Method: "DELETE", Path: s.path(n, r.Project, r.ID)}) != nil {
		return err
	}
	return fmt.Errorf("%w; image %s is taken back", err, r.Name)
}

// counted tells how much of a content has been sent.
type counted struct {
	io.Reader
	sent, total int64
	begin, told time.Time
	tell        func(string)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.sent += int64(n)
	if now := time.Now(); now.Sub(c.told) > 200*time.Millisecond {
		c.told = now
		rate := float64(c.sent) / (1 << 20) / max(now.Sub(c.begin).Seconds(), 0.001)
		c.tell(fmt.Sprintf("sent %s of %s (%d%%, %.0f MiB/s)", bytesText(c.sent), bytesText(c.total), 100*c.sent/max(c.total, 1), rate))
	}
	return n, err
}
