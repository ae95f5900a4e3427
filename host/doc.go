// Package host knows the hosts, the hardware that runs workloads.
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
// Heartbeats may reach any server; those that do not lead pass them on to the one that does (see
// Relay). Whoever begins to lead has heard nobody, and listens for a grace before it calls anybody lost.
//
// A host has the holder "liveness": its Liveness goes first. A host is not deleted while any
// record of a tenant refers to it, unless an administrator declares it dead.
//
// A Removal (spec by the API, status by the removal loop) is written in the commit that marks a host
// for deletion, and stays for ever. From then on:
//
//	the API          refuses the host's certificate, and tells it why
//	the host itself  ends its guests and its switch, if it comes back, and its daemon
//	other hosts      take no memory from it
//	each domain      gives up what it had there: compute its instances, storage its datastores
//	the removal loop lets go, in place of the agent, of what is being deleted, then of the host
//
// StateOf calls a removed host lost, so that whoever does not wait for the lost does not wait for it.
package host
