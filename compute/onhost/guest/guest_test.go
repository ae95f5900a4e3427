package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pretend is an agent that answers by script: command to answer.
func pretend(t *testing.T, answers map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "g")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = fmt.Fprint(conn, "{\"return\": \"left by an earlier client\"}\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			var r struct {
				Execute   string `json:"execute"`
				Arguments struct {
					ID int64 `json:"id"`
				} `json:"arguments"`
			}
			_ = json.Unmarshal([]byte(strings.TrimLeft(lines.Text(), "\xff")), &r)
			if r.Execute == "guest-sync-delimited" {
				_, _ = fmt.Fprintf(conn, "\xff{\"return\": %d}\n", r.Arguments.ID)
				continue
			}
			if a := answers[r.Execute]; a != "" {
				_, _ = fmt.Fprintln(conn, a)
			}
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return path
}

func TestTheAgentTellsItsAddressesAndFreezes(t *testing.T) {
	c, err := Dial(t.Context(), pretend(t, map[string]string{
		"guest-network-get-interfaces": `{"return":[{"name":"eth0","hardware-address":"52:54:00:00:00:01","ip-addresses":[{"ip-address-type":"ipv4","ip-address":"10.0.0.5","prefix":24}]}]}`,
		"guest-fsfreeze-freeze":        `{"return":2}`,
		"guest-fsfreeze-thaw":          `{"error":{"class":"GenericError","desc":"nothing is frozen"}}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	all, err := c.Interfaces(t.Context())
	if err != nil || len(all) != 1 || all[0].MAC != "52:54:00:00:00:01" || all[0].Addresses[0].String() != "10.0.0.5" {
		t.Fatalf("%+v, %v", all, err)
	}
	if n, err := c.Freeze(t.Context()); err != nil || n != 2 {
		t.Fatalf("%d, %v", n, err)
	}
	_, err = c.Thaw(t.Context())
	if said, ok := errors.AsType[*Error](err); !ok || said.Desc != "nothing is frozen" {
		t.Fatalf("%v", err)
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAnAbsentAgentIsFoundOutSoon(t *testing.T) {
	if _, err := Dial(t.Context(), filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, ErrAbsent) {
		t.Fatalf("%v", err)
	}
	path := filepath.Join(t.TempDir(), "g")
	l, err := net.Listen("unix", path) // QEMU listens, nobody in the guest does
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	begin := time.Now()
	if _, err := Dial(context.Background(), path); !errors.Is(err, ErrAbsent) || time.Since(begin) > 5*Wait {
		t.Fatalf("%v after %s", err, time.Since(begin))
	}
}
