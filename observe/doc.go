// Package observe tells people what happened: events now, metrics and alarms later.
//
// An Event is written once by whoever saw it happen, in the same commit as the change that it
// speaks of, and never changed. It has the project of the record it is about; what happens to the
// cloud itself (a host is lost) has none. The same thing happening to the same record again and
// again is told a few times a minute, not each time. The retention loop keeps the newest; older
// ones go.
package observe
