package fake

import (
	"testing"

	"github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/switchtest"
)

func TestTheFakeIsASwitch(t *testing.T) {
	switchtest.Run(t, func(*testing.T) onhost.Switch { return New() })
}
