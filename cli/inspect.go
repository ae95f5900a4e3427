package cli

import "github.com/virga-cloud/virga/client"

func attachments() *noun {
	return &noun{api: client.As[record](client.Attachments), inner: true, group: groupStorage, sample: "0199-…", short: "Volumes that are open on hosts",
		long: "An attachment opens a volume on one host for one user of it.", verbs: []string{"list", "show"},
		columns: []column{state("State"), name("Volume", "volume", "spec.volumeID"), name("Host", "host", "spec.hostID"), field("Epoch", "spec.epoch"), trouble()}}
}

func allocations() *noun {
	return &noun{api: client.As[record](client.Allocations), inner: true, group: groupStorage, sample: "0199-…", short: "Space of volumes on datastores",
		long: "An allocation is a volume's space on a datastore.", verbs: []string{"list", "show"},
		columns: []column{state("State"), name("Volume", "volume", "spec.volumeID"), name("Datastore", "datastore", "spec.datastoreID"), trouble()}}
}

func imageCopies() *noun {
	return &noun{api: client.As[record](client.ImageCopies), inner: true, group: groupStorage, sample: "0199-…", short: "Copies of images on datastores",
		long: "An image copy is the content that disks on a datastore start from.", verbs: []string{"list", "show"},
		columns: []column{state("State"), name("Datastore", "datastore", "spec.datastoreID"), field("Digest", "spec.digest"), trouble()}}
}

func portBindings() *noun {
	return &noun{api: client.As[record](client.PortBindings), inner: true, group: groupNetwork, sample: "0199-…", short: "Ports that are bound to hosts",
		long: "A port binding puts a port onto the host where its VM runs.", verbs: []string{"list", "show"},
		columns: []column{state("State"), name("Port", "port", "spec.portID"), name("Host", "host", "spec.hostID"), field("Epoch", "spec.epoch"), trouble()}}
}

func dnsZones() *noun {
	return &noun{api: client.As[record](client.DNSZones), inner: true, group: groupNetwork, sample: "0199-…", short: "DNS zones of networks",
		long: "A DNS zone holds the names of a network's VMs for the hosts that serve them.", verbs: []string{"list", "show"},
		columns: []column{name("Network", "network", "spec.networkID"), field("Domain", "spec.domain"), trouble()}}
}
