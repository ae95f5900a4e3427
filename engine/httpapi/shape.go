package httpapi

import (
	"encoding/json"
	"fmt"

	"github.com/virga-cloud/virga/engine/fault"
)

// ours are the members of a record that the cloud itself writes.
var ours = []string{"owner", "generation", "revision", "created", "deleting", "holders", "status"}

// written takes out of a request what the cloud itself says in a record, so that one that was read can be
// sent again. Its kind, its project, and on a change its id, must be those of the route: a request that
// names others is meant for another place.
func (k *kind[S, T]) written(c *Call, raw []byte) ([]byte, error) {
	var request map[string]json.RawMessage
	if err := json.Unmarshal(raw, &request); err != nil || request == nil {
		return raw, k.noObject(raw)
	}
	mine := map[string]bool{"kind": true, "project": true, "projectID": true, "id": true}
	for _, word := range ours {
		mine[word] = true
	}
	found := false
	for word := range mine {
		_, there := request[word]
		found = found || there
	}
	if !found {
		return raw, nil
	}
	id := ""
	if name := c.PathValue("name"); name != "" {
		r, err := k.find(c, name)
		if err != nil {
			return nil, err
		}
		id = string(r.ID)
	}
	var wrong []fault.Detail
	project := k.api.projectName(c.Project)
	for word, want := range map[string]string{"kind": string(k.Kind), "project": project, "projectID": string(c.Project), "id": id} {
		var given string
		if request[word] == nil || word == "id" && id == "" {
			continue
		}
		err := json.Unmarshal(request[word], &given)
		if word == "project" && c.ProjectID(given) == c.Project {
			given = want // by its id
		}
		if err != nil || given != want && given != "" {
			wrong = append(wrong, fault.Detail{Field: word, Message: fmt.Sprintf("%s is not %q, which this request is sent to; leave it out, or send it elsewhere", request[word], want)})
		}
	}
	if err := fault.Fields("the request", wrong); err != nil {
		return nil, err
	}
	for word := range mine {
		delete(request, word)
	}
	out, err := json.Marshal(request)
	if err != nil {
		return nil, fault.New(fault.Internal, "read the request: %w", err)
	}
	return out, nil
}

// noObject says what a request is that is no JSON object; nil if it is one.
func (k *kind[S, T]) noObject(raw []byte) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return fault.New(fault.Invalid, "the request is no JSON: %w", err)
	}
	if _, isObject := v.(map[string]any); !isObject {
		return fault.New(fault.Invalid, "the request must be a JSON object with labels and spec")
	}
	return nil
}
