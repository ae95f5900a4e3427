package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/virga-cloud/virga/client"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/lab"
)

const (
	vmsPath = "/v1/projects/default/vms"
	slow    = 3 * time.Minute // what takes longer has failed
)

// cloud is a lab cloud and the API of its first host.
type cloud struct {
	*Part
	*lab.Cloud
	first *lab.Host
	api   *client.Connection
}

// newCloud starts a cloud of n hosts.
func newCloud(p *Part, n int) *cloud {
	p.Helper()
	c := &cloud{Part: p, Cloud: lab.New(p, n)}
	c.Start()
	c.first = c.Hosts[0]
	c.api = connect(p, c.first)
	return c
}

func connect(p *Part, h *lab.Host) *client.Connection {
	p.Helper()
	api, err := client.Connect(client.Options{Socket: filepath.Join(h.Run, "api.sock")})
	p.must(err)
	return api
}

// ask makes a request and reads the answer; size is the number of its bytes.
func ask(api *client.Connection, method, path string, body, answer any) (size int64, err error) {
	var send io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		send = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, "http://virga"+path, send)
	if err != nil {
		return 0, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := api.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && answer != nil {
		err = json.Unmarshal(data, answer)
	}
	return int64(len(data)), err
}

func (c *cloud) ask(method, path string, body, answer any) {
	c.Helper()
	if _, err := ask(c.api, method, path, body, answer); err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
}

// request is what a VM is asked for with.
type request map[string]any

func draft(name string, spec request) map[string]any {
	return map[string]any{"name": name, "spec": spec}
}

// tiny is a small guest.
func tiny(memoryMiB int64) request { return request{"imageID": "tiny", "memoryMiB": memoryMiB} }

// stopped is a VM that is only records. Without a NIC it needs no address.
func stopped(nics bool) request {
	in := request{"memoryMiB": 128, "power": "stopped", "disks": []compute.Disk{{SizeMiB: 64}}}
	if !nics {
		in["nics"] = []compute.NIC{} // none said would be one
	}
	return in
}

func (c *cloud) create(name string, in request) {
	c.Helper()
	c.ask("POST", vmsPath, draft(name, in), nil)
}

func (c *cloud) ready(name string) *compute.VM {
	c.Helper()
	vm := &compute.VM{}
	c.ask("GET", vmsPath+"/"+name+"?wait=ready&timeout=3m", nil, vm)
	return vm
}

// remove deletes a VM and waits until nothing of it is left on the host.
func (c *cloud) remove(name string) {
	c.Helper()
	c.ask("DELETE", vmsPath+"/"+name, nil, nil)
	c.until(slow, "VM "+name+" is gone", func() bool {
		_, err := ask(c.api, "GET", vmsPath+"/"+name, nil, nil)
		return client.IsKind(err, "not-found")
	})
}

func (c *cloud) instance(vm *compute.VM) *compute.Instance {
	c.Helper()
	i := &compute.Instance{}
	c.ask("GET", "/v1/projects/default/instances/"+string(vm.Status.InstanceID), nil, i)
	return i
}

// folder is where a host keeps what belongs to an instance.
func folder(h *lab.Host, i *compute.Instance) string { return filepath.Join(h.Run, "vm", string(i.ID)) }

// serial is what a guest has said on its serial line.
func serial(h *lab.Host, i *compute.Instance) string {
	return read(filepath.Join(h.State, "serial", string(i.Spec.VMID)+".log"))
}

// booted waits until a guest says that it is up.
func (c *cloud) booted(h *lab.Host, i *compute.Instance) {
	c.Helper()
	c.until(slow, "the guest of "+i.Spec.VMName+" is up", func() bool { return strings.Contains(serial(h, i), "VIRGA-READY") })
}

// commandLine reads how a process was started.
func commandLine(pid int64) []string {
	return strings.Split(strings.TrimSuffix(read(fmt.Sprintf("/proc/%d/cmdline", pid)), "\x00"), "\x00")
}

// startedAt is when a process began, since the host's start; the kernel counts hundredths of a second.
func startedAt(pid int64) time.Duration {
	line := read(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 20 {
		return 0
	}
	ticks, _ := strconv.ParseInt(fields[19], 10, 64)
	return time.Duration(ticks) * 10 * time.Millisecond
}
