package compute

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

func TestProcessorOfTheTargetHasAllThatTheSourceHas(t *testing.T) {
	p := func(a host.Accelerator, vendor, features string) host.Profile {
		return host.Profile{Accelerator: a, CPUVendor: vendor, CPUFeatures: features}
	}
	const intel, amd = "GenuineIntel", "AuthenticAMD"
	for name, c := range map[string]struct {
		source, target host.Profile
		says           string // empty: it fits
	}{
		"the same":              {p(host.KVM, intel, "aes avx"), p(host.KVM, intel, "aes avx"), ""},
		"a newer one":           {p(host.KVM, intel, "aes avx"), p(host.KVM, intel, "aes avx avx2 avx512f"), ""},
		"an older one":          {p(host.KVM, intel, "aes avx avx2 avx512f"), p(host.KVM, intel, "aes avx"), "has a processor without avx2, avx512f"},
		"crosswise":             {p(host.KVM, intel, "aes hle"), p(host.KVM, intel, "aes avx2"), "without hle"},
		"a name within another": {p(host.KVM, intel, "avx"), p(host.KVM, intel, "avx2"), "without avx"},
		"another's":             {p(host.KVM, intel, "aes"), p(host.KVM, amd, "aes avx"), "has a processor by AuthenticAMD, not GenuineIntel"},
		"software":              {p(host.KVM, intel, "aes"), p(host.TCG, amd, "aes"), "runs guests with tcg, not kvm"},
		"from software":         {p(host.TCG, amd, "aes"), p(host.KVM, intel, "aes"), "runs guests with kvm, not tcg"},
		"software to software":  {p(host.TCG, amd, ""), p(host.TCG, amd, "aes"), ""},
		"other software":        {p(host.TCG, amd, "aes la57"), p(host.TCG, amd, "aes"), "without la57"},
		"an unknown one":        {p(host.KVM, intel, "aes"), p(host.KVM, "", ""), "has not reported"},
		"from an unknown one":   {p(host.KVM, "", ""), p(host.KVM, intel, "aes"), "the source has not reported"},
		"none of both known":    {p(host.KVM, "", ""), p(host.KVM, "", ""), ""},
		"many":                  {p(host.KVM, intel, "a b c d e f g h i j"), p(host.KVM, intel, ""), "has not reported"},
		"many lacking":          {p(host.KVM, intel, "a b c d e f g h i j k"), p(host.KVM, intel, "a"), "without b, c, d, e, f, g, h, i and 2 more features"},
	} {
		got := unfit(c.source, c.target)
		if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestRefusalOfAMigrationNamesTheHostsLeftOut(t *testing.T) {
	vm := &VM{Meta: resource.Meta{Name: "web"}}
	cause := fault.New(fault.Exhausted, "no host has room")
	err := otherwise(cause, vm, []string{"host a x", "host b x", "host c x", "host d x", "host e x", "host f x", "host g x"})
	if !fault.Is(err, fault.Exhausted) || !errors.Is(err, cause) || !strings.HasSuffix(err.Error(), "host e x; 2 more hosts likewise") {
		t.Errorf("%v", err)
	}
	if otherwise(nil, vm, []string{"x"}) != nil || otherwise(cause, vm, nil) != cause {
		t.Error("what needs no words got some")
	}
}

func TestHostsAreLeftOutForTheirProcessorsAlone(t *testing.T) {
	db := store.NewDB(memory.New(), resource.NewCatalog(host.Hosts))
	db.Inline = true
	hosts := store.Specs(store.NewRegistry(), host.Hosts, "test")
	b := db.Begin()
	add := func(id, features string) *host.Host {
		h := &host.Host{Meta: resource.Meta{ID: resource.ID(id), Name: id}}
		h.Status.Profile = host.Profile{Accelerator: host.KVM, CPUVendor: "GenuineIntel", CPUFeatures: features}
		hosts.Create(b, h)
		return h
	}
	source := add("source", "aes avx2")
	for id, features := range map[string]string{"twin": "aes avx2", "newer": "aes avx2 avx512f", "older": "aes"} {
		add(id, features)
	}
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	vm := &Instance{Spec: InstanceSpec{Accelerator: host.KVM}}
	for target, want := range map[resource.ID][]resource.ID{"": {"older"}, "older": {"older"}, "twin": nil, "source": nil} {
		ids, why := unfitHosts(db.Snapshot(), source, vm, target)
		if !slices.Equal(ids, want) || len(why) != len(ids) {
			t.Errorf("to %q: left out are %v, %v; want %v", target, ids, why, want)
		}
	}
	// A guest that runs in software needs what its software gives, whatever its host has.
	if ids, _ := unfitHosts(db.Snapshot(), source, &Instance{Spec: InstanceSpec{Accelerator: host.TCG}}, ""); len(ids) != 3 {
		t.Errorf("a guest in software could go on with the processors of %d hosts", 3-len(ids))
	}
}
