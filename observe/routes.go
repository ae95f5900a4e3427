package observe

import (
	"context"
	"net/http"
	"time"

	"github.com/virga-cloud/virga/engine/httpapi"
)

type logQuery struct {
	Project  string    `query:"project" doc:"Events of the project of this name or id alone; none: of all that the caller may read, and of the cloud itself."`
	About    string    `query:"about" doc:"The id or name of the record that they are about."`
	Reason   string    `query:"reason" doc:"The reason in one word, for example crashed."`
	Severity string    `query:"severity" enum:"info,warning,error" doc:"How severe."`
	Since    time.Time `query:"since" doc:"Not before this time."`
	Limit    int       `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"The newest so many."`
}

type logAnswer struct {
	Body struct {
		Items []*Event `json:"items" doc:"The events, the newest first."`
	}
}

// Register offers events: list, show, watch, and the log, newest first and narrowed.
func Register(a *httpapi.API) {
	httpapi.Register(a, Events, httpapi.Routes[EventSpec, EventStatus]{})
	httpapi.Handle(a, httpapi.Op{ID: "read-event-log", Method: http.MethodGet, Path: "/v1/eventlog", Right: httpapi.Known, Tag: "events",
		Summary: "List what happened, newest first"},
		func(_ context.Context, c *httpapi.Call, in *logQuery) (*logAnswer, error) {
			project := c.ProjectID(in.Project)
			visible := func(e *Event) bool {
				return c.Sees(e) && (project == "" || project == e.Project)
			}
			out := &logAnswer{}
			events := Newest(c.Snapshot, visible, Filter{About: in.About, Reason: in.Reason, Severity: in.Severity, Since: in.Since, Limit: in.Limit})
			out.Body.Items = make([]*Event, len(events))
			for i, e := range events {
				out.Body.Items[i] = Events.Seen(e, c.Sight(e.Project), c.ProjectName(e.Project))
			}
			return out, nil
		})
}
