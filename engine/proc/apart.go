package proc

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Apart is what a child is cloned with so that it has a network of its own, with nothing in it, and no
// shared memory of others; 0 where the kernel does not let us.
var Apart = sync.OnceValue(func() uintptr {
	const flags = unix.CLONE_NEWNET | unix.CLONE_NEWIPC
	may := make(chan bool)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread goes with its network
		may <- unix.Unshare(flags) == nil
	}()
	if <-may {
		return flags
	}
	return 0
})
