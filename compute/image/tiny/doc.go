// Package tiny builds a small Linux disk that boots in seconds: the distribution's cloud kernel,
// busybox in an initial RAM disk, a FAT partition to boot from, and an ext4 partition labelled
// "data" that the guest mounts at /data and that keeps what is written to it.
//
// No loop device, no mount and no privilege is needed: partitions are written at offsets by
// mtools, syslinux and mke2fs. What comes out is named after what went in (recipe and packages),
// and kept, so that the second build is a copy.
//
// The guest takes addresses by DHCP on all NICs (routes, MTU, resolvers, hostname), takes
// hostname and a user-data script from a NoCloud disk or the metadata service, offers a shell on
// the serial console and the screen, powers off on the ACPI button, and says when it is up:
//
//	VIRGA-READY <hostname> <address or ->
package tiny
