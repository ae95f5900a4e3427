package network

// Holder lets go of networks, subnets and ports when their last effect is undone; the API puts
// it on every one that it creates.
const Holder = "network"

// AgentHolder lets go of port bindings: the tap is gone. Whoever creates a port binding puts it on.
const AgentHolder = "agent"
