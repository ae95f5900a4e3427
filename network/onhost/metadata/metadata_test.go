package metadata

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost"
)

func aServer() *server {
	r := New(func(id resource.ID) (Guest, bool) {
		return Guest{InstanceID: "vm-1", Hostname: "web", Zone: "rack1", Type: "2cpu", Project: "shop", SSHKeys: []string{"ssh-rsa A", "ssh-rsa B"}, UserData: []byte("#!/bin/sh\n"),
			NICs: []NIC{{"52:54:00:00:00:10", netip.MustParsePrefix("10.9.0.10/20")}, {"52:54:00:00:00:11", netip.MustParsePrefix("10.0.0.11/24")}}}, id == "inst-1"
	})
	s := &server{owner: r, limit: onhost.NewLimiter(perGuest)}
	s.desired.Store(&onhost.DesiredState{
		DNSZone:   &network.DNSZone{Spec: network.DNSZoneSpec{Domain: "internal", Subnets: []network.DNSZoneSubnet{{Service: "10.0.0.2/24"}}}},
		Residents: map[string]onhost.Resident{"10.0.0.11": {InstanceID: "inst-1", MAC: "52:54:00:00:00:11"}, "10.0.0.12": {InstanceID: "inst-gone"}},
	})
	return s
}

func ask(s *server, method, path, from string, headers ...string) (int, string) {
	q := httptest.NewRequest(method, path, nil)
	q.RemoteAddr = from + ":40000"
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, q)
	body, _ := io.ReadAll(w.Body)
	return w.Code, string(body)
}

func TestAVMLearnsWhatItIs(t *testing.T) {
	s := aServer()
	for path, want := range map[string]string{
		"/latest/meta-data/instance-id":                                                      "vm-1",
		"/2021-03-23/meta-data/local-hostname":                                               "web.internal",
		"/latest/meta-data/public-keys/":                                                     "0=key-0\n1=key-1",
		"/latest/meta-data/public-keys/1":                                                    "openssh-key",
		"/latest/meta-data/public-keys/1/openssh-key":                                        "ssh-rsa B",
		"/latest/meta-data/placement/":                                                       "availability-zone",
		"/latest/meta-data/network/interfaces/macs/":                                         "52:54:00:00:00:10/\n52:54:00:00:00:11/",
		"/latest/meta-data/network/interfaces/macs/52:54:00:00:00:10/subnet-ipv4-cidr-block": "10.9.0.0/20",
		"/latest/meta-data/network/interfaces/macs/52:54:00:00:00:10/device-number":          "0",
		"/latest/meta-data/network/interfaces/macs/52:54:00:00:00:11/device-number":          "1",
		"/latest/meta-data/network/interfaces/macs/52:54:00:00:00:11/local-ipv4s":            "10.0.0.11",
		"/latest/meta-data/mac":                                                              "52:54:00:00:00:10", // of the first NIC, by whichever it asks
		"/latest/meta-data/local-ipv4":                                                       "10.9.0.10",
		"/latest/meta-data/network/interfaces/macs/52:54:00:00:00:11/subnet-ipv4-cidr-block": "10.0.0.0/24",
		"/latest/user-data":                                                                  "#!/bin/sh\n",
		"/latest/":                                                                           "dynamic/\nmeta-data/\nuser-data",
		"/latest/dynamic/instance-identity/":                                                 "document",
	} {
		if code, body := ask(s, "GET", path, "10.0.0.11"); code != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, not %q", path, code, body, want)
		}
	}
	if _, body := ask(s, "GET", "/", "10.0.0.11"); !strings.Contains(body, "latest") {
		t.Errorf("the versions are %q", body)
	}
}

func TestMetadataGivesUserDataByteForByte(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	r := New(func(resource.ID) (Guest, bool) { return Guest{InstanceID: "vm-1", UserData: all}, true })
	s := &server{owner: r, limit: onhost.NewLimiter(perGuest)}
	s.desired.Store(&onhost.DesiredState{DNSZone: &network.DNSZone{}, Residents: map[string]onhost.Resident{"10.0.0.11": {InstanceID: "inst-1"}}})
	if code, body := ask(s, "GET", "/latest/user-data", "10.0.0.11"); code != http.StatusOK || body != string(all) {
		t.Errorf("%d %q", code, body)
	}
}

func TestQuestionsThatAreRefused(t *testing.T) {
	s := aServer()
	for name, c := range map[string]struct {
		method, path, from string
		headers            []string
		code               int
	}{
		"a stranger":          {"GET", "/latest/meta-data/instance-id", "10.0.0.99", nil, 404},
		"a VM that left":      {"GET", "/latest/meta-data/instance-id", "10.0.0.12", nil, 404},
		"nothing there":       {"GET", "/latest/meta-data/nothing", "10.0.0.11", nil, 404},
		"no version":          {"GET", "/etc/passwd", "10.0.0.11", nil, 404},
		"a write":             {"POST", "/latest/meta-data/instance-id", "10.0.0.11", nil, 405},
		"passed on":           {"GET", "/latest/meta-data/instance-id", "10.0.0.11", []string{"X-Forwarded-For", "1.2.3.4"}, 403},
		"a bad token":         {"GET", "/latest/meta-data/instance-id", "10.0.0.11", []string{"X-aws-ec2-metadata-token", "no"}, 401},
		"a token of for ever": {"PUT", "/latest/api/token", "10.0.0.11", []string{"X-aws-ec2-metadata-token-ttl-seconds", "99999"}, 400},
		"a token by GET":      {"GET", "/latest/api/token", "10.0.0.11", nil, 405},
	} {
		if code, body := ask(s, c.method, c.path, c.from, c.headers...); code != c.code {
			t.Errorf("%s: %d %q, not %d", name, code, body, c.code)
		}
	}
}

func TestATokenIsForOneVMAndForItsTime(t *testing.T) {
	s := aServer()
	now := time.Unix(1000, 0)
	s.owner.now = func() time.Time { return now }
	code, token := ask(s, "PUT", "/latest/api/token", "10.0.0.11", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if code != 200 || token == "" {
		t.Fatalf("%d %q", code, token)
	}
	get := func() int {
		code, _ := ask(s, "GET", "/latest/meta-data/mac", "10.0.0.11", "X-aws-ec2-metadata-token", token)
		return code
	}
	if code := get(); code != 200 {
		t.Errorf("a good token: %d", code)
	}
	if s.owner.validToken(token, "10.0.0.12") {
		t.Error("a token is good for another VM")
	}
	now = now.Add(61 * time.Second)
	if code := get(); code != 401 {
		t.Errorf("an old token: %d", code)
	}
}

func TestAFloodIsToldToWaitAndHarmsNoOtherVM(t *testing.T) {
	s := aServer()
	var last int
	for range perGuest.Burst + 100 {
		last, _ = ask(s, "GET", "/latest/meta-data/nothing", "10.0.0.12")
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the flood was answered with %d at last, not 429", last)
	}
	if code, _ := ask(s, "GET", "/latest/meta-data/instance-id", "10.0.0.11"); code != http.StatusOK {
		t.Errorf("another VM got %d", code)
	}
}
