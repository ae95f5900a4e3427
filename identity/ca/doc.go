// Package ca is the cloud's own certificate authority: it names servers and hosts to each other.
//
// The authority (ECDSA P-256) is made at the first start and lies in the state folder. Servers get
// certificates for their names and addresses, and always for ServerName; hosts get certificates
// with the name virga://host/<id>. Certificates are short-lived; a Rotator renews its own after two
// thirds of its life and hands the present one to every new connection, with no restart.
//
// A host that joins knows the authority by the fingerprint in its Invitation, trusts nothing else,
// and makes its key before it asks: when the answer is lost it asks again with the same key and
// gets the same host.
package ca
