// Package host knows the machines that run workloads.
//
// Nouns: Host (spec by the API, status by the host's own agent: what was probed) and Liveness
// (status by the server's liveness loop, from heartbeats that are no records).
//
// States of Liveness: unknown until the first heartbeat or until a full grace period has passed
// since this server began to watch; alive; lost. Not seen is not the same as not there: nothing
// is decided on unknown.
package host
