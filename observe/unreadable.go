package observe

import (
	"context"
	"net/http"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// UnreadableRecord is a record that the server cannot read: it is damaged, or of a newer version. It is left
// alone: nothing is removed because of it.
type UnreadableRecord struct {
	// About is the record.
	About resource.Ref `json:"about"`
	// Name of the record; empty where none is known.
	Name string `json:"name,omitempty"`
	// Project is the name of its project; empty for records of the cloud.
	Project string `json:"project,omitempty"`
	// Why it cannot be read.
	Why string `json:"why"`
	// Remedy is what to do about it.
	Remedy string `json:"remedy"`
}

type unreadableAnswer struct {
	Body struct {
		Items []UnreadableRecord `json:"items" doc:"The records, by kind and id."`
	}
}

// registerUnreadable offers the list of records that cannot be read.
func registerUnreadable(a *httpapi.API) {
	httpapi.Handle(a, httpapi.Op{ID: "list-unreadable-records", Method: http.MethodGet, Path: "/v1/unreadable-records", Action: "unreadable-record.read", Right: httpapi.Read, Tag: "server",
		Summary: "List the records that the server cannot read, and what to do about them"},
		func(ctx context.Context, c *httpapi.Call, _ *struct{}) (*unreadableAnswer, error) {
			out := &unreadableAnswer{}
			out.Body.Items = []UnreadableRecord{}
			records := c.DB.Unreadable()
			names := map[resource.ID]string{}
			if len(records) > 0 {
				var err error
				if names, err = store.NamesHeld(ctx, c.DB.Store(), records); err != nil {
					return nil, err
				}
			}
			for _, x := range records {
				out.Body.Items = append(out.Body.Items, UnreadableRecord{
					About: x.Key, Name: names[x.Key.ID], Project: c.Snapshot.NameOf(x.Key.Project), Why: x.Why, Remedy: x.Remedy(),
				})
			}
			return out, nil
		})
}

// unread says of a record that it cannot be read. Its words are the operator's: who may read it alone is told
// whom to ask.
func unread(x store.Strange, as resource.Sight) Line {
	line := Line{Severity: Error, About: x.Key, Text: "what is stored of it cannot be read: " + x.Why + "; ask an operator of the cloud"}
	if as >= resource.Operator {
		line.Text = "what is stored of it cannot be read: " + x.Why + "; " + x.Remedy()
	}
	return line
}

// findUnreadable looks for a record that the view does not show, by its id or by the name that it still holds.
func findUnreadable(ctx context.Context, db *store.DB, kind resource.Kind, project resource.ID, word string) (store.Strange, bool) {
	of := func(x store.Strange) bool { return x.Key.Kind == kind && x.Key.Project == project }
	if x, there := db.UnreadableRecord(resource.ID(word)); there && of(x) {
		return x, true
	}
	for _, x := range db.Unreadable() {
		if !of(x) {
			continue
		}
		names, err := store.NamesHeld(ctx, db.Store(), []store.Strange{x})
		if err == nil && names[x.Key.ID] == word {
			return x, true
		}
	}
	return store.Strange{}, false
}
