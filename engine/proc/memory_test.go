package proc

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestMemoryOfAProcessIsWhatItHolds(t *testing.T) {
	before, err := MemoryOf(os.Getpid())
	if err != nil || before.Resident == 0 {
		t.Fatalf("this process holds %+v, %v", before, err)
	}
	held := make([]byte, 64<<20)
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}
	after, err := MemoryOf(os.Getpid())
	if err != nil || after.Resident+after.Swapped < before.Resident+60<<20 {
		t.Errorf("after 64 MiB more it holds %+v, before %+v, %v", after, before, err)
	}
	held[0]++
	if _, err := MemoryOf(1 << 30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a process that is not there: %v", err)
	}
}

func TestAmountsAreReadByTheirNames(t *testing.T) {
	const text = "Name:\tVmRSS: 5 kB\nVmRSSx: 7 kB\nVmRSS:\t  128 kB\nVmSwap:\t 0 kB\nMemAvailable:   23 kB"
	for key, want := range map[string]int64{"VmRSS": 128 << 10, "VmSwap": 0, "MemAvailable": 23 << 10, "MemFree": 0} {
		if got := Kibibytes(text, key); got != want {
			t.Errorf("%s is %d, want %d", key, got, want)
		}
	}
}
