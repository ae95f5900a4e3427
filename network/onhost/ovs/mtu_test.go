package ovs

import "testing"

func TestOutsideMTUFitsTheNetworksAndTheTunnels(t *testing.T) {
	for underlay, want := range map[int]int{1500: 1442, 9000: 1442, 1400: 1342, 65536: 1442, 1280: 1222, 100: 576} {
		if got := outsideMTU(underlay); got != want {
			t.Errorf("over an underlay of %d bytes: %d, want %d", underlay, got, want)
		}
	}
}

func TestTapLetsThroughWhatComesFromTheOutside(t *testing.T) {
	s := &Switch{}
	s.fromOutside.Store(1442)
	for wanted, want := range map[int]int{0: 0, 1300: 1442, 1442: 1442, 8942: 8942} {
		if got := s.tapMTU(wanted); got != want {
			t.Errorf("a tap of a network of %d bytes has %d, want %d", wanted, got, want)
		}
	}
}
