// Package host knows the machines that run workloads.
//
// Nouns: Host (spec by the API, status by the host's own agent: what was probed) and Liveness
// (status by the server's liveness loop, from heartbeats that are no records).
//
// States of Liveness: unknown until the first heartbeat or until a full grace period has passed
// since this server began to watch; alive; lost. Not seen is not the same as not there: nothing
// is decided on unknown. A host that was alive when the server stopped gets two heartbeats' time
// before it is called unknown, so that an upgrade makes nothing flicker.
//
// Silence is measured in time during which the server really listened (see Listener): neither a
// jump of the clock nor a server that stood still loses a host.
//
// A host has the holder "liveness": its Liveness goes first. A host is not deleted while any
// record of a tenant refers to it.
package host
