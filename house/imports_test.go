package house

import (
	"slices"
	"strings"
	"testing"
)

// which other domains' types a domain may know; every domain may know identity and observe
var neighbours = map[string][]string{
	"compute":   {"storage", "network", "host", "host/numa", "cluster/placement"},
	"container": {"storage", "network", "host", "cluster/placement"},
	"storage":   {"host"},
	"network":   {"host"},
	"observe":   {"host"},
	// The gate serves every workload, and so knows none of them.
	"cluster/placement": {"storage", "host", "host/numa", "cluster"},
	"cluster":           {"compute", "container", "storage", "network", "host"},
	"host":              {},
	"identity":          {},
}

// the layers of the engine, from below; the same number knows nothing of each other
var layers = map[string]int{
	"engine/fault": 0, "engine/resource": 0, "engine/durable": 0, "engine/fairshare": 0, "engine/proc": 0, "engine/store": 1, "engine/reconcile": 2, "engine/leader": 2, "engine/operation": 3, "engine/httpapi": 4, "engine/task": 4, "engine/part": 5,
}

// wire clients speak a foreign format and are usable alone
var wireClients = []string{"compute/onhost/qmp", "compute/onhost/guest", "compute/onhost/seed", "storage/onhost/qcow2"}

// mayImport decides by the two folders alone; why says what to do.
func mayImport(from, to string) (ok bool, why string) {
	top, _, _ := strings.Cut(from, "/")
	if neighbours[from] != nil {
		top = from
	}
	switch {
	case slices.Contains([]string{"cmd", "sim", "lab", "bench", "house", "tools"}, top):
		return true, ""
	case top == "cli":
		return within(to, "cli") || within(to, "client"), "the command line knows the generated client only; ask the API"
	case top == "client" || top == "web":
		return within(to, top), "this is usable without the rest; keep it so"
	case top == "engine":
		return engineMay(from, to), "the engine imports downwards only: fault, resource and durable, store, reconcile, operation, task and httpapi, part; it knows no domain"
	case top == "wiring":
		ok := !slices.Contains([]string{"cmd", "sim", "lab", "cli", "client"}, strings.Split(to, "/")[0]) && !isDriver(to)
		return ok, "the list of parts is shared with the simulator; take the driver as a parameter, cmd/virga picks it"
	case slices.Contains(wireClients, from):
		return false, "a wire client imports nothing of ours; give it plain values"
	case neighbours[top] == nil:
		return false, "nobody has said what " + top + " may import; say it in house/imports_test.go"
	}
	return domainMay(top, from, to)
}

func engineMay(from, to string) bool {
	layer := func(folder string) (int, string) {
		parts := strings.SplitN(folder, "/", 3)
		name := strings.Join(parts[:min(2, len(parts))], "/")
		n, known := layers[name]
		if !known {
			return 100, name
		}
		return n, name
	}
	above, a := layer(from)
	below, b := layer(to)
	return within(to, "engine") && (below < above || a == b)
}

func domainMay(domain, from, to string) (bool, string) {
	onhost := domain + "/onhost"
	driver := strings.HasPrefix(from, onhost+"/")
	switch {
	case driver:
		ok := within(to, domain) || slices.Contains([]string{"engine/fault", "engine/resource", "engine/durable", "engine/proc"}, to) || slices.Contains(neighbours[domain], to)
		return ok, "a driver knows faults, resources, durable files, processes, types, and its wire client; let the loop in " + onhost + " read and write records"
	case within(to, "engine"):
		return true, ""
	case from == domain && within(to, onhost):
		return false, "the servers' half does not know the hosts' half; talk through records"
	case slices.Contains(wireClients, to):
		return true, ""
	case from == onhost && strings.HasPrefix(to, onhost+"/"):
		return false, "the hosts' half declares the interface; cmd/virga picks the driver"
	case within(to, domain) || within(to, "identity") || to == "observe":
		return true, ""
	}
	return slices.Contains(neighbours[domain], to), "a domain knows the types of " + strings.Join(neighbours[domain], ", ") + "; talk through records"
}

// isDriver reports whether a folder is below the hosts' half of a domain.
func isDriver(folder string) bool { return strings.Contains(folder, "/onhost/") }

func within(folder, top string) bool { return folder == top || strings.HasPrefix(folder, top+"/") }

func TestImportsGoOneWay(t *testing.T) {
	tree := ours(t)
	for _, f := range tree.gos {
		if f.test {
			continue
		}
		for to, line := range tree.imports(f) {
			if ok, why := mayImport(f.folder(), to); !ok {
				t.Errorf("%s:%d: %s must not import %s: %s", f.path, line, f.folder(), to, why)
			}
		}
	}
}

func TestTheRuleOfImportsIsWhatTheDocumentSays(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"engine/store", "engine/fault", true},
		{"engine/store/etcd", "engine/store", true},
		{"engine/fault", "engine/store", false},
		{"engine/reconcile", "engine/operation", false},
		{"engine/store", "compute", false},
		{"compute", "engine/httpapi", true},
		{"compute", "storage", true},
		{"compute", "storage/onhost", false},
		{"compute", "cluster/placement", true},
		{"compute", "cluster/ha", false},
		{"cluster/placement", "compute", false},
		{"cluster/placement", "storage", true},
		{"compute", "compute/onhost", false},
		{"compute", "observe", true},
		{"storage", "compute", false},
		{"cluster/ha", "compute", true},
		{"compute/onhost", "compute", true},
		{"compute/onhost", "compute/onhost/qemu", false},
		{"compute/onhost/qemu", "compute/onhost/qmp", true},
		{"compute/onhost/qemu", "engine/store", false},
		{"compute/onhost/qemu", "engine/durable", true},
		{"engine/store/etcd", "engine/durable", true},
		{"engine/durable", "engine/fault", false},
		{"compute/onhost/qmp", "engine/fault", false},
		{"cli", "client", true},
		{"cli", "compute", false},
		{"cmd/virga", "compute/onhost/qemu", true},
		{"wiring", "compute/onhost", true},
		{"wiring", "compute/onhost/qemu", false},
		{"wiring", "sim", false},
		{"compute", "engine/part", true},
		{"compute", "wiring", false},
		{"billing", "engine/store", false},
	} {
		if got, _ := mayImport(c.from, c.to); got != c.want {
			t.Errorf("%s importing %s: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
