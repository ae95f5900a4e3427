package qemu

import "testing"

func TestWhatQEMUSaysOfAnArgumentIsASentenceWithoutTheArgument(t *testing.T) {
	for said, want := range map[string]string{
		`qemu-system-x86_64: -blockdev {"driver":"qcow2","node-name":"disk-a","file":{"driver":"file","filename":"/s/v"}}: Could not open '/s/v': No such file`: `blockdev disk-a: Could not open '/s/v': No such file`,
		`/usr/bin/qemu-system-x86_64: -device {"driver":"virtio-blk-pci","id":"vd0"}: Failed to get "write" lock`:                                               `device vd0: Failed to get "write" lock`,
		`qemu-system-x86_64: -object {"qom-type":"x"}: nothing known`:                                                                                           `object: nothing known`,
		`qemu-system-x86_64: -blockdev {broken: it ends`:                                                                                                        `-blockdev {broken: it ends`,
		`qemu-system-x86_64: terminating on signal 15`:                                                                                                          `terminating on signal 15`,
		`libusb: something else`: `libusb: something else`,
		``:                       ``,
	} {
		if got := plainWords(said); got != want {
			t.Errorf("%s\nbecomes %q\nwant    %q", said, got, want)
		}
	}
}
