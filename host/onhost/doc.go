// Package onhost is the host's own half: it reports what the host has and what works on it,
// and sends heartbeats.
package onhost
