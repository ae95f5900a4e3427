// Package bench measures Virga against the same work done by hand, on the host that it runs on.
//
// `make bench` prints one table and writes bench.json. Each part has a cloud of its own in the lab
// (real binary, real switches, real guests), so that a part that fails leaves the others alone:
//
//	up        virga up to API ready, on a new state folder and with 1,000 VMs in it
//	create    a VM to its first serial line, and the same QEMU command line typed by hand
//	api       creates a second, lists of 10,000 VMs, a change told to 1,000 watchers
//	idle      memory and processor time of a daemon that has nothing to do; what a stopped VM adds
//	guests    what a running VM adds; the daemon is killed: until it has taken all of them over
//	disks     the I/O profiles of disks, by reads inside a guest
//	engine    records that a loop brings to their desired state, a second
//	migrate   a live migration, and the same by QMP alone
//	many      100,000 VMs: their records read from a state folder, a page of them, a start with them
//
// What is compared is measured in turns in the same run: ours, bare, ours, bare. A figure that
// misses its target is said to, and fails nothing; a part that could not be measured does.
//
// VIRGA_BENCH names the parts (default: all), VIRGA_BENCH_ROUNDS how often slow things are done
// (default 5), VIRGA_BENCH_GUESTS how many guests run at once (default 20), VIRGA_BENCH_RECORDS
// how many VMs a list has (default 10000), VIRGA_BENCH_VMS how many the part many has (default
// 100000; its targets are in proportion).
package bench
