package boottest

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Apart runs do where no other host can be reached. Only what do calls itself is there, and the
// programs that it starts.
func Apart(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function, and the namespace with it
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip("this host makes no network namespaces: ", err)
	}
}
