package client

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Notice is one thing that a watch tells.
type Notice struct {
	Name     string          `json:"-"` // change, synced, bookmark
	Revision int64           `json:"revision"`
	Type     string          `json:"type"` // put or delete, of a change
	Kind     string          `json:"kind"`
	Object   json.RawMessage `json:"object"`
}

// WatchOptions narrow a watch.
type WatchOptions struct {
	Kinds   []string
	Project string
	After   int64 // 0: begin with everything that is there, then synced
}

// silence is how long a watch may say nothing before it is taken for dead; bookmarks come every 10 s.
const silence = 45 * time.Second

// Follow calls tell for every event until ctx ends or tell fails. A stream that breaks is resumed
// where it ended; where it had not synced yet it begins anew. A past that is gone ends it with an
// *Error of kind too-late: list again.
func (c *Connection) Follow(ctx context.Context, o WatchOptions, tell func(Notice) error) error {
	last := ""
	if o.After > 0 {
		last = strconv.FormatInt(o.After, 10)
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		before := last
		err := c.follow(ctx, o, &last, tell)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !IsKind(err, "unavailable") {
			return err
		}
		if last != before {
			pause = 100 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (c *Connection) follow(ctx context.Context, o WatchOptions, last *string, tell func(Notice) error) error {
	ctx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	query := url.Values{}
	if len(o.Kinds) > 0 {
		query.Set("kinds", strings.Join(o.Kinds, ","))
	}
	if o.Project != "" {
		query.Set("project", o.Project)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/watch?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	quiet := time.AfterFunc(silence, hangUp)
	defer quiet.Stop()
	lines := bufio.NewReader(resp.Body)
	name, id, data := "", "", ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return newError("unavailable", "the watch broke: %v", err)
		}
		quiet.Reset(silence)
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		switch key {
		case "event":
			name = value
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if err := told(name, data, tell); err != nil {
				return err
			}
			if id != "" {
				*last = id
			}
			name, id, data = "", "", ""
		}
	}
}

func told(name, data string, tell func(Notice) error) error {
	if name == "" {
		return nil
	}
	if name == "error" {
		var p struct{ Kind, Detail string }
		_ = json.Unmarshal([]byte(data), &p)
		return newError(p.Kind, "%s", p.Detail)
	}
	e := Notice{Name: name}
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return newError("internal", "read an event: %v", err)
	}
	return tell(e)
}
