package fake_test

import (
	"testing"

	"github.com/virga-cloud/virga/storage/onhost/drivertest"
	"github.com/virga-cloud/virga/storage/onhost/fake"
)

func TestTheFakeIsADriver(t *testing.T) {
	drivertest.Run(t, func(*testing.T) drivertest.Subject {
		w := fake.NewWorld()
		one, two := w.Host(), w.Host()
		one.Mount("/share", "share", 1000)
		two.Mount("/share", "share", 1000)
		one.Unmount("/bare")
		two.Unmount("/bare")
		return drivertest.Subject{One: one, Two: two, Path: "/share", Bare: "/bare", Image: []byte("an image")}
	})
}
