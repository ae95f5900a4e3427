package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// seeds says how many random lives are lived; VIRGA_SIM_SEEDS asks for more.
func seeds(t *testing.T) uint64 {
	text := os.Getenv("VIRGA_SIM_SEEDS")
	if text == "" {
		return 6
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRandomWalks(t *testing.T) {
	first, n := uint64(1), seeds(t)
	if *seedFlag != 1 {
		first = *seedFlag
		if os.Getenv("VIRGA_SIM_SEEDS") == "" {
			n = 1
		}
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			if _, err := Walk(seed, 300); err != nil {
				t.Fatalf("%v\nagain: go test ./sim -run TestRandomWalks -seed %d", err, seed)
			}
		})
	}
}

func TestARandomWalkCanBeRepeated(t *testing.T) {
	one, err := Walk(7, 60)
	if err != nil {
		t.Fatal(err)
	}
	if two, _ := Walk(7, 60); one != two {
		t.Error("two walks with one seed differ")
	}
}
