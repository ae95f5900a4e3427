package compute

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
)

// execAction is what it takes to run commands in a guest, and to read and write its files: who may do one
// may do all.
const execAction = "vm.exec"

// registerInside offers what is done inside a guest by its agent, and the way to its ports.
func (s *Screens) registerInside(a *httpapi.API) {
	of := "/v1/projects/{project}/vms/{name}/"
	file := []httpapi.Query{{Name: "path", Type: "string", Doc: "The whole path of the file in the guest."}}
	a.Raw(httpapi.Op{ID: "exec-vm", Action: execAction, Method: http.MethodPost, Path: of + "exec", Right: httpapi.Write, Tag: "vms",
		Summary: "Run a command in the guest, by its agent", Doc: "The answer comes when the command has ended.",
		Request: ExecRequest{}, Answer: ExecResult{}}, s.exec(a))
	a.Raw(httpapi.Op{ID: "read-vm-file", Action: execAction, Method: http.MethodGet, Path: of + "file", Right: httpapi.Write, Tag: "vms", Acts: true,
		Summary: "Read a file of the guest, by its agent", Query: file}, http.HandlerFunc(s.readFile))
	a.Raw(httpapi.Op{ID: "write-vm-file", Action: execAction, Method: http.MethodPut, Path: of + "file", Right: httpapi.Write, Tag: "vms", Status: http.StatusNoContent,
		Summary: "Write a file of the guest, by its agent", Query: file}, http.HandlerFunc(s.writeFile))
	a.Raw(httpapi.Op{ID: "tunnel-vm", Method: http.MethodGet, Path: of + "tcp", Right: httpapi.Write, Tag: "vms", Acts: true,
		Summary: "A TCP port of the VM, as a websocket of binary messages",
		Query:   []httpapi.Query{{Name: "port", Type: "integer", Doc: "The port, from 1 to 65535."}}}, http.HandlerFunc(s.tunnel))
}

func (s *Screens) exec(a *httpapi.API) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in := ExecRequest{}
		err := a.Read(r, &in)
		in.Default()
		if err == nil {
			err = in.Check()
		}
		var i *Instance
		if err == nil {
			i, err = s.find(r)
		}
		var answer *http.Response
		if err == nil {
			var body []byte
			if body, err = json.Marshal(in); err == nil {
				answer, err = s.ask(r.Context(), i.Spec.HostID, call{method: http.MethodPost, path: "/instances/" + string(i.ID) + "/exec",
					body: bytes.NewReader(body), patience: in.Timeout() + agentAnswers})
			}
		}
		if err != nil {
			httpapi.Fail(w, r, fault.Wrap(err, "run a command in VM %s", r.PathValue("name")))
			return
		}
		defer answer.Body.Close()
		pass(w, answer)
	}
}

// guestFile is the path of a request for a file, at the agent of the instance's host.
func (s *Screens) guestFile(r *http.Request) (*Instance, string, error) {
	path := r.URL.Query().Get("path")
	if err := CheckGuestPath(path); err != nil {
		return nil, "", err
	}
	i, err := s.find(r)
	if err != nil {
		return nil, "", err
	}
	return i, "/instances/" + string(i.ID) + "/file?" + url.Values{"path": {path}}.Encode(), nil
}

func (s *Screens) readFile(w http.ResponseWriter, r *http.Request) {
	i, path, err := s.guestFile(r)
	var answer *http.Response
	if err == nil {
		answer, err = s.ask(r.Context(), i.Spec.HostID, call{method: http.MethodGet, path: path})
	}
	if err != nil {
		httpapi.Fail(w, r, fault.Wrap(err, "read a file of VM %s", r.PathValue("name")))
		return
	}
	defer answer.Body.Close()
	pass(w, answer)
}

func (s *Screens) writeFile(w http.ResponseWriter, r *http.Request) {
	i, path, err := s.guestFile(r)
	if err == nil && r.ContentLength > MaxGuestFile {
		err = fault.New(fault.Invalid, "it has %d MiB; at most %d are taken", r.ContentLength>>20, MaxGuestFile>>20)
	}
	if err == nil {
		var answer *http.Response
		body := http.MaxBytesReader(w, r.Body, MaxGuestFile)
		if answer, err = s.ask(r.Context(), i.Spec.HostID, call{method: http.MethodPut, path: path, body: body}); err == nil {
			answer.Body.Close()
		}
	}
	if err != nil {
		httpapi.Fail(w, r, fault.Wrap(err, "write a file of VM %s", r.PathValue("name")))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// tunnel carries bytes between who asks and a TCP port of the VM, by way of its host.
func (s *Screens) tunnel(w http.ResponseWriter, r *http.Request) {
	port, err := strconv.ParseUint(r.URL.Query().Get("port"), 10, 16)
	if err != nil || port == 0 {
		httpapi.Fail(w, r, fault.Fields("open a tunnel", []fault.Detail{{Field: "port", Message: "name a TCP port, from 1 to 65535"}}))
		return
	}
	i, err := s.find(r)
	if err != nil {
		httpapi.Fail(w, r, err)
		return
	}
	number := strconv.FormatUint(port, 10)
	s.carry(w, r, i, "tcp?port="+number, "reach port "+number)
}

// call is a request to a host's agent.
type call struct {
	method, path string
	body         io.Reader
	patience     time.Duration // until it begins to answer; none: agentAnswers
}

func (s *Screens) get(ctx context.Context, hostID resource.ID, path string) (*http.Response, error) {
	return s.ask(ctx, hostID, call{method: http.MethodGet, path: path})
}
