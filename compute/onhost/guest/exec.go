package guest

import (
	"context"
	"fmt"
)

// MaxOutput is the largest reply with a command's output, in bytes of its JSON.
const MaxOutput = 12 << 20

// Process is how a command is that the guest was given.
type Process struct {
	Exited    bool   `json:"exited"`
	ExitCode  int64  `json:"exitcode"`
	Signal    int64  `json:"signal"`
	Stdout    []byte `json:"out-data"`
	Stderr    []byte `json:"err-data"`
	StdoutCut bool   `json:"out-truncated"`
	StderrCut bool   `json:"err-truncated"`
}

// Exec begins a command in the guest, and gives the number by which the agent knows it.
func (c *Client) Exec(ctx context.Context, command, env []string, stdin []byte) (int64, error) {
	args := map[string]any{"path": command[0], "arg": command[1:], "capture-output": true}
	if len(env) > 0 {
		args["env"] = env
	}
	if len(stdin) > 0 {
		args["input-data"] = stdin // base64 in JSON, as the agent wants it
	}
	var begun struct {
		PID int64 `json:"pid"`
	}
	err := c.Do(ctx, "guest-exec", args, &begun)
	return begun.PID, err
}

// Status tells how a command is. Its output comes when it has ended, in one reply.
func (c *Client) Status(ctx context.Context, pid int64) (Process, error) {
	c.most = MaxOutput
	defer func() { c.most = MaxReply }()
	var p Process
	err := c.Do(ctx, "guest-exec-status", map[string]any{"pid": pid}, &p)
	return p, err
}

// Piece is how much of a file is asked for at once, so that the reply is not too large, in bytes.
const Piece = 32 << 10

// OpenFile opens a file in the guest, to read ("r") or to write it anew ("w"), and gives the agent's handle.
func (c *Client) OpenFile(ctx context.Context, path, mode string) (handle int64, err error) {
	err = c.Do(ctx, "guest-file-open", map[string]any{"path": path, "mode": mode}, &handle)
	return handle, err
}

// ReadFile reads the next piece of a file.
func (c *Client) ReadFile(ctx context.Context, handle int64) (data []byte, end bool, err error) {
	var r struct {
		Count int64  `json:"count"`
		Data  []byte `json:"buf-b64"`
		EOF   bool   `json:"eof"`
	}
	if err := c.Do(ctx, "guest-file-read", map[string]any{"handle": handle, "count": Piece}, &r); err != nil {
		return nil, false, err
	}
	if int64(len(r.Data)) != r.Count || len(r.Data) > Piece {
		return nil, false, fmt.Errorf("guest-file-read: %w: it gives %d bytes and says %d", ErrReply, len(r.Data), r.Count)
	}
	return r.Data, r.EOF || r.Count == 0, nil
}

// WriteFile writes the next piece of a file, of at most Piece bytes, and gives how much of it was taken.
func (c *Client) WriteFile(ctx context.Context, handle int64, data []byte) (int, error) {
	var r struct {
		Count int `json:"count"`
	}
	if err := c.Do(ctx, "guest-file-write", map[string]any{"handle": handle, "buf-b64": data}, &r); err != nil {
		return 0, err
	}
	if r.Count <= 0 || r.Count > len(data) {
		return 0, fmt.Errorf("guest-file-write: %w: of %d bytes it took %d", ErrReply, len(data), r.Count)
	}
	return r.Count, nil
}

// CloseFile closes a file; what was written is in it then.
func (c *Client) CloseFile(ctx context.Context, handle int64) error {
	return c.Do(ctx, "guest-file-close", map[string]any{"handle": handle}, nil)
}
