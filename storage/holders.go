package storage

// Who holds records of this domain, and lets go when nothing is left to undo.
const (
	// Holder is the server's loops: nothing refers to the record any more.
	Holder = "storage"
	// AgentHolder is the agent of the host that made something for the record.
	AgentHolder = "agent"
)
