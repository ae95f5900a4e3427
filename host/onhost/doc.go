// Package onhost is the host's own half: it reports what the machine has and what works on it,
// and sends heartbeats.
package onhost
