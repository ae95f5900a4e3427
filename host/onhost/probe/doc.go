// Package probe finds out what a host has and what really works on it.
//
// Files are read through an fs.FS that stands for the root of the host, so that every reader
// can be shown another host in a test. The accelerator is never believed: a guest is run.
// Running takes up to two seconds, so its result is kept in the state folder until the host
// boots again, or QEMU or /dev/kvm changes.
package probe
