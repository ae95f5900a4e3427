package metadata

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"net"

	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost"
)

// versions are the dates that clients ask for; all mean the same tree.
var versions = []string{"2009-04-04", "2014-11-05", "2016-09-02", "2018-09-24", "2021-03-23", "latest"}

var dated = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2}|latest|1\.0)$`)

// ServeHTTP answers one question.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "EC2ws") // clients look for it
	who, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, "who asks?", http.StatusBadRequest)
		return
	}
	guestAddress, _ := netip.ParseAddr(who)
	done, ok := s.limit.Begin(guestAddress)
	if !ok {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many questions; ask again in a second", http.StatusTooManyRequests)
		return
	}
	defer done()
	// A question that was passed on by a proxy in the VM is somebody else's.
	if r.Header.Get("X-Forwarded-For") != "" {
		http.Error(w, "forwarded questions are not answered", http.StatusForbidden)
		return
	}
	desired := s.desired.Load()
	resident, here := desired.Residents[who]
	guest, known := Guest{}, false
	if here {
		guest, known = s.owner.lookup(resident.InstanceID)
	}
	if !known {
		http.Error(w, "no VM of this network has this address here", http.StatusNotFound)
		return
	}
	path := strings.Trim(r.URL.Path, "/")
	if path == "latest/api/token" {
		s.token(w, r, who)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	if token := r.Header.Get("X-aws-ec2-metadata-token"); token != "" && !s.owner.validToken(token, who) {
		http.Error(w, "the token is not valid; ask for a new one", http.StatusUnauthorized)
		return
	}
	text, found := tree(facts{guest, resident, who, desired.DNSZone}, path)
	if !found {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	if strings.HasSuffix(path, "/user-data") { // any bytes
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	fmt.Fprint(w, text)
}

type facts struct {
	guest    Guest
	resident onhost.Resident
	address  string
	zone     *network.DNSZone
}

// tree answers a path: a value, or the list of what lies below it.
func tree(f facts, path string) (string, bool) {
	if path == "" {
		return strings.Join(versions, "\n"), true
	}
	version, rest, _ := strings.Cut(path, "/")
	if !dated.MatchString(version) {
		return "", false
	}
	leaves := leavesOf(f)
	if value, there := leaves[rest]; there {
		return value, true
	}
	if rest == "meta-data/public-keys" {
		return keyList(f.guest), len(f.guest.SSHKeys) > 0
	}
	return list(leaves, rest)
}

func leavesOf(f facts) map[string]string {
	full := f.guest.Hostname
	if f.zone.Spec.Domain != "" {
		full += "." + f.zone.Spec.Domain
	}
	out := map[string]string{
		"meta-data/ami-id":                      "unknown",
		"meta-data/instance-id":                 string(f.guest.InstanceID),
		"meta-data/instance-type":               f.guest.Type,
		"meta-data/hostname":                    full,
		"meta-data/local-hostname":              full,
		"meta-data/local-ipv4":                  f.address, // of the first NIC, where it is known
		"meta-data/mac":                         f.resident.MAC,
		"meta-data/placement/availability-zone": f.guest.Zone,
		"meta-data/services/domain":             f.zone.Spec.Domain,
	}
	for i, nic := range f.guest.NICs {
		below, address := "meta-data/network/interfaces/macs/"+nic.MAC+"/", nic.Address.Addr().String()
		if i == 0 {
			out["meta-data/mac"], out["meta-data/local-ipv4"] = nic.MAC, address
		}
		out[below+"device-number"], out[below+"mac"], out[below+"local-hostname"] = strconv.Itoa(i), nic.MAC, full
		out[below+"local-ipv4s"], out[below+"subnet-ipv4-cidr-block"] = address, nic.Address.Masked().String()
	}
	out["dynamic/instance-identity/document"] = identity(f, out["meta-data/local-ipv4"])
	for i, key := range f.guest.SSHKeys {
		out[fmt.Sprintf("meta-data/public-keys/%d/openssh-key", i)] = key
	}
	if len(f.guest.UserData) > 0 {
		out["user-data"] = string(f.guest.UserData)
	}
	return out
}

func keyList(g Guest) string {
	var out []string
	for i := range g.SSHKeys {
		out = append(out, fmt.Sprintf("%d=key-%d", i, i))
	}
	return strings.Join(out, "\n")
}

// list names what lies directly below a folder, folders with a slash at the end.
func list(leaves map[string]string, folder string) (string, bool) {
	if folder != "" {
		folder += "/"
	}
	var out []string
	for path := range leaves {
		if below, ok := strings.CutPrefix(path, folder); ok {
			first, _, deeper := strings.Cut(below, "/")
			if deeper {
				first += "/"
			}
			if !slices.Contains(out, first) {
				out = append(out, first)
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n"), len(out) > 0
}

func identity(f facts, address string) string {
	data, _ := json.MarshalIndent(map[string]string{
		"instanceId": string(f.guest.InstanceID), "privateIp": address, "instanceType": f.guest.Type,
		"availabilityZone": f.guest.Zone, "region": "virga", "accountId": f.guest.Project, "architecture": "x86_64", "version": "2017-09-30",
	}, "", "  ")
	return string(data)
}
