package network

// Holder lets go of networks, subnets and ports when their last effect is undone; the API puts
// it on every one that it creates.
const Holder = "network"

// AgentHolder lets go of plugs: the tap is gone. Whoever creates a plug puts it on.
const AgentHolder = "agent"
