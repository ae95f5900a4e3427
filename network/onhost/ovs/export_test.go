package ovs

import "context"

// Follow is the part of Run that keeps devices, for a thread in a namespace.
func (s *Switch) Follow(ctx context.Context) { s.follow(ctx) }
