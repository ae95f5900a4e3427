package cli

import "github.com/virga-cloud/virga/client"

func attachments() *noun {
	return &noun{api: client.As[record](client.Attachments), inner: true, group: groupStorage, sample: "0199-…", short: "Volumes that are open on hosts",
		long: "An attachment opens a volume on one host for one user of it.", verbs: []string{"list", "show"},
		columns: []column{state("State"), name("Volume", "volume", at(&attachmentOf.Spec.VolumeID)), name("Host", "host", at(&attachmentOf.Spec.HostID)), field("Epoch", at(&attachmentOf.Spec.Epoch)), trouble()}}
}

func allocations() *noun {
	return &noun{api: client.As[record](client.Allocations), inner: true, group: groupStorage, sample: "0199-…", short: "Space of volumes on datastores",
		long: "An allocation is a volume's space on a datastore.", verbs: []string{"list", "show"},
		columns: []column{state("State"), name("Volume", "volume", at(&allocationOf.Spec.VolumeID)), name("Datastore", "datastore", at(&allocationOf.Spec.DatastoreID)), trouble()}}
}

func imageCopies() *noun {
	return &noun{api: client.As[record](client.ImageCopies), inner: true, group: groupStorage, sample: "0199-…", short: "Copies of images on datastores",
		long: "An image copy is the content that disks on a datastore start from.", verbs: []string{"list", "show"},
		columns: []column{state("State"), name("Datastore", "datastore", at(&imageCopyOf.Spec.DatastoreID)), field("Digest", at(&imageCopyOf.Spec.Digest)), trouble()}}
}

func portBindings() *noun {
	return &noun{api: client.As[record](client.PortBindings), inner: true, group: groupNetwork, sample: "0199-…", short: "Ports that are bound to hosts",
		long: "A port binding puts a port onto the host where its VM runs.", verbs: []string{"list", "show"},
		columns: []column{state("State"), name("Port", "port", at(&portBindingOf.Spec.PortID)), name("Host", "host", at(&portBindingOf.Spec.HostID)), field("Epoch", at(&portBindingOf.Spec.Epoch)), trouble()}}
}

func dnsZones() *noun {
	return &noun{api: client.As[record](client.DNSZones), inner: true, group: groupNetwork, sample: "0199-…", short: "DNS zones of networks",
		long: "A DNS zone holds the names of a network's VMs for the hosts that serve them.", verbs: []string{"list", "show"},
		columns: []column{name("Network", "network", at(&dnsZoneOf.Spec.NetworkID)), field("Domain", at(&dnsZoneOf.Spec.Domain)), trouble()}}
}
