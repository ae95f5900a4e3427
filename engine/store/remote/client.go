package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Open gives the store that a Handler serves at a base URL. The client shows who we are.
func Open(client *http.Client, baseURL string) store.Store {
	endless := *client
	endless.Timeout = 0 // a watch has none; a dead link is noticed by its silence
	return &remote{client: client, watcher: &endless, base: strings.TrimSuffix(baseURL, "/")}
}

type remote struct {
	client, watcher *http.Client
	base            string
}

// Derives implements store.Deriving: the server adds what the records bring along.
func (r *remote) Derives() bool { return true }

// Get implements store.Store.
func (r *remote) Get(ctx context.Context, key resource.Ref) (store.Entry, error) {
	q := url.Values{"kind": {string(key.Kind)}, "project": {string(key.Project)}, "id": {string(key.ID)}}
	var out entryWire
	err := r.call(ctx, http.MethodGet, "/entry?"+q.Encode(), nil, &out)
	return store.Entry(out), err
}

// List implements store.Store.
func (r *remote) List(ctx context.Context, kinds ...resource.Kind) ([]store.Entry, int64, error) {
	q := url.Values{}
	for _, k := range kinds {
		q.Add("kind", string(k))
	}
	var body listWire
	if err := r.call(ctx, http.MethodGet, "/list?"+q.Encode(), nil, &body); err != nil {
		return nil, 0, err
	}
	out := make([]store.Entry, 0, len(body.Entries))
	for _, e := range body.Entries {
		out = append(out, store.Entry(e))
	}
	return out, body.Revision, nil
}

// Commit implements store.Store. When the link breaks before the answer it is fault.Unavailable
// and may have happened: expectations keep the repetition from happening twice.
func (r *remote) Commit(ctx context.Context, changes ...store.Change) (int64, error) {
	var body commitWire
	for _, c := range changes {
		sent, err := send(c)
		if err != nil {
			return 0, err
		}
		body.Changes = append(body.Changes, sent)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return 0, fault.New(fault.Internal, "encode a commit: %w", err)
	}
	var out revisionWire
	err = r.call(ctx, http.MethodPost, "/commit", data, &out)
	return out.Revision, err
}

func (r *remote) call(ctx context.Context, method, path string, body []byte, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Internal, "ask the server: %w", err)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return fault.New(fault.Unavailable, "ask the server: %w", err)
	}
	defer drain(answer.Body)
	if answer.StatusCode != http.StatusOK {
		return readFault(answer)
	}
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		return fault.New(fault.Unavailable, "read the server's answer: %w", err)
	}
	return nil
}

// drain lets the connection be used again.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

func readFault(answer *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	var f faultWire
	if err := json.Unmarshal(data, &f); err == nil && f.Kind != "" && f.Message != "" {
		return f.err()
	}
	kind := fault.Internal
	for _, k := range fault.Kinds() {
		if k.HTTPStatus() == answer.StatusCode {
			kind = k
		}
	}
	if answer.StatusCode == http.StatusBadGateway || answer.StatusCode == http.StatusGatewayTimeout {
		kind = fault.Unavailable
	}
	return fault.New(kind, "the server answers %s", answer.Status)
}

func (r *remote) watchURL(after int64) string {
	return r.base + "/watch?after=" + strconv.FormatInt(after, 10)
}
