// Package onhost makes one host look like its port bindings and DNS zones.
//
//	loop         reads                 does                              reports
//	portbinding  PortBinding           tap, port on the virtual switch   waiting, ready, closed
//	dnszone      DNSZone, PortBinding  service port, names, metadata     -
//
// The driver of the virtual switch (Switch) keeps everything by id: what is there already is
// adopted, what is absent is removed with success. A sweep, once at the start and then every
// minute, removes what belongs to no record; it does nothing before the records have been seen,
// and asks the store itself about each of them.
package onhost
