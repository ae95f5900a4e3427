// Package ovn compiles the records of networks to rows of OVN's northbound database, is the only
// writer of those rows, and keeps OVN's central daemons running.
//
//	records --facts by owner--> Rows --plan against what is there--> one transaction
//
// An owner is a network, or what all networks share; its rows are a pure function of its facts and refer to no
// other owner's. Owners of which no fact has changed keep their rows, and only the others are compared with what
// is there. All is compared when a write failed, and every minute, should somebody else have written.
//
// A row of ours is known by external_ids:virga, which holds its key;
// rows without it are somebody else's and left alone. What carries our mark and is no longer
// compiled is deleted. If we die at any point, the next pass compiles again and sends the rest.
//
// How a network looks in OVN:
//
//   - a logical switch with a port for each of its ports that a host has, a port to its router for each subnet, and
//     a localport for DNS and metadata that is there on every host;
//   - a logical router with the gateway address of each subnet; with a way outside it also has a
//     port on the switch virga-ext, which every host maps to a bridge of its own (br-ex) with the same
//     address and MAC, so that whichever host is the router's gateway, its own br-ex is the next hop;
//   - a router goes out by three hosts at most, one at a time, in an order drawn from the ids: routers are spread over
//     the hosts, and a host that comes or goes changes the rows of those alone that move to it or from it.
//
// Hosts' ovn-controllers reach the southbound database through a Gate of ours, which knows who was
// removed. Behind it each host has a certificate in its own name, and OVN's roles keep it to its own rows.
package ovn
