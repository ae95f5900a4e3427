package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Call is one request. In is sent as JSON unless Body is set; what comes back is read into Out, or
// written to it if it is an io.Writer.
type Call struct {
	Method, Path string
	Query        url.Values
	In           any
	Body         io.Reader
	Length       int64 // of Body
	Out          any
	Once         bool  // carries an Idempotency-Key
	IfMatch      int64 // the revision that the record must be at; 0: any
}

// Call makes a request and reads its answer; a problem is an *Error.
func (c *Connection) Call(ctx context.Context, a Call) error {
	req, err := c.request(ctx, a)
	if err != nil {
		return err
	}
	answer, err := c.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if w, plain := a.Out.(io.Writer); plain {
		_, err = io.Copy(w, answer.Body)
	} else if a.Out != nil && answer.StatusCode != http.StatusNoContent {
		err = json.NewDecoder(answer.Body).Decode(a.Out)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !errors.Is(err, io.EOF) { // an answer without a body
		return newError("unavailable", "read the server's answer: %v", err)
	}
	return nil
}

func (c *Connection) request(ctx context.Context, a Call) (*http.Request, error) {
	body, kind := a.Body, "application/octet-stream"
	if body == nil && a.In != nil {
		data, err := json.Marshal(a.In)
		if err != nil {
			return nil, newError("internal", "encode the request: %v", err)
		}
		body, kind, a.Length = bytes.NewReader(data), "application/json", int64(len(data))
	}
	where := c.base + a.Path
	if len(a.Query) > 0 {
		where += "?" + a.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, a.Method, where, body)
	if err != nil {
		return nil, newError("invalid", "make the request: %v", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
		req.ContentLength = a.Length
	}
	if a.Once {
		req.Header.Set("Idempotency-Key", rand.Text())
	}
	if a.IfMatch != 0 {
		req.Header.Set("If-Match", fmt.Sprintf("%q", fmt.Sprint(a.IfMatch)))
	}
	return req, nil
}
