package cli

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func storages() *noun {
	return &noun{api: client.As[record](client.Backends), typed: "storage", says: "storage backend",
		aliases: []string{"storage-backend", "storage-backends", "storages"}, group: groupStorage, sample: "local", short: "Storage backends: ways to reach storage",
		long:  "A storage backend says how something is reached, and from which hosts; a datastore is made on it.",
		verbs: everyVerb, commands: storageCommands,
		columns: []column{field("Type", at(&backendOf.Spec.Type)), field("Path", at(&backendOf.Spec.Path)), name("Hosts", "host", at(&backendOf.Spec.HostIDs)),
			computed("Devices", func(_ *lookup, r *record) string { return count(r.list(at(&backendOf.Status.DeviceIDs))) }), trouble()}}
}

func storageCommands(s *session, n *noun) []*cobra.Command {
	var folder, of string
	var onHosts []string
	c := &cobra.Command{Use: "create NAME --folder PATH --host HOST...", Short: "Create a storage backend: a folder that hosts reach", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Long:    "A folder is on a local disk, or a share that every host has mounted at the same path. The cloud\nfinds out by itself whether several hosts see the same folder. In one of type plain-folder volumes lie\nas they are, with all their space set aside: they cannot start from images, and keep no snapshots.",
		Example: "  virga storage create nas --folder /mnt/nas --host h1 --host h2\n  virga datastore create fast --storage nas --wait"}
	c.Flags().StringVar(&folder, "folder", "", "path of the folder on each of the hosts")
	c.Flags().StringVar(&of, "type", "folder", "folder or plain-folder")
	c.Flags().StringSliceVar(&onHosts, "host", nil, "a host that reaches it; may be repeated")
	s.completeFlag(c, "host", "host")
	m := addMaking(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if folder == "" || len(onHosts) == 0 {
			return refuse("%s: say --folder, and --host at least once", called(cmd))
		}
		path, err := s.pathOnHosts(folder)
		if err != nil {
			return fmt.Errorf("%s: %w", called(cmd), err)
		}
		return s.create(cmd, n, args[0], map[string]any{key(&backendOf.Spec.Type): of, key(&backendOf.Spec.Path): path, key(&backendOf.Spec.HostIDs): onHosts}, m)
	}
	return []*cobra.Command{c, s.storageHost(n, "add-host", "Let a host reach a storage backend too", "is reached from", "would be reached from"),
		s.storageHost(n, "remove-host", "Let a host reach a storage backend no more", "is not reached any more from", "would not be reached any more from")}
}

// storageHost changes from which hosts a storage backend is reached, held to what was read.
func (s *session) storageHost(n *noun, verb, summary, done, would string) *cobra.Command {
	c := &cobra.Command{Use: verb + " NAME HOST", Short: summary, Args: exactly("NAME", "HOST"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga storage " + verb + " nas h3"}
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		h, err := s.get(cmd.Context(), nounOf("host"), "", args[1])
		if err != nil {
			return err
		}
		_, query := dryRun(cmd)
		for attempt := 0; ; attempt++ {
			r, err := s.get(cmd.Context(), n, "", args[0])
			if err != nil {
				return err
			}
			ids := []string{}
			for _, id := range r.list(at(&backendOf.Spec.HostIDs)) {
				if plain(id) != h.ID {
					ids = append(ids, plain(id))
				}
			}
			if verb == "add-host" {
				ids = append(ids, h.ID)
			}
			change := client.Call{Method: "PATCH", Path: s.path(n, "", r.ID), Query: query, In: map[string]any{"spec": map[string]any{key(&backendOf.Spec.HostIDs): ids}}, Out: &record{}, IfMatch: r.Revision}
			if err = s.do(cmd.Context(), change); client.IsKind(err, "stale") && attempt < 20 {
				continue // a scan has reported meanwhile
			}
			if err != nil {
				return err
			}
			if dry, _ := dryRun(cmd); dry {
				return s.wouldReach(cmd, n, r, ids, h.Name, would)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s host %s\n", n.one(), r.Name, done, h.Name)
			return nil
		}
	}
	return c
}

// wouldReach says what a change of the hosts of a storage backend would do, which the server has judged.
func (s *session) wouldReach(cmd *cobra.Command, n *noun, r *record, ids []string, name, would string) error {
	var hosts, on []string
	for _, id := range ids {
		hosts = append(hosts, s.nameOf(cmd.Context(), "host", "", id))
	}
	all, err := s.list(cmd.Context(), datastores(), "")
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.text(at(&datastoreOf.Spec.BackendID)) == r.ID {
			on = append(on, d.Name)
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s host %s; its hosts would be: %s; datastores on it: %s\n", n.one(), r.Name, would, name,
		cmp.Or(strings.Join(hosts, ", "), "none"), cmp.Or(strings.Join(on, ", "), "none"))
	return nil
}

// pathOnHosts makes a path absolute, as the API wants it. Who asks the server of this host means
// the folder that they are in; seen from elsewhere that folder says nothing.
func (s *session) pathOnHosts(folder string) (string, error) {
	if !filepath.IsAbs(folder) && s.server != "" {
		return "", refuse("the folder %s is one of this host, not of %s: say an absolute path", folder, s.server)
	}
	return filepath.Abs(folder)
}

func datastores() *noun {
	return &noun{api: client.As[record](client.Datastores), group: groupStorage, sample: "fast", short: "Places where volumes live",
		long: "A datastore is made on storage; volumes and copies of images live on it.", verbs: everyVerb, commands: datastoreCommands, states: []string{"unreachable"},
		columns: []column{state("State"), name("Storage", "storagebackend", at(&datastoreOf.Spec.BackendID)), sized("Capacity", at(&datastoreOf.Status.CapacityMiB)),
			sized("Free", at(&datastoreOf.Status.FreeMiB)), sized("Promised", at(&datastoreOf.Status.PromisedMiB)), name("Hosts", "host", at(&datastoreOf.Status.HostIDs)),
			field("Identity", at(&datastoreOf.Status.Identity)).only(), trouble()}}
}

func datastoreCommands(s *session, n *noun) []*cobra.Command {
	var on string
	c := &cobra.Command{Use: "create NAME --storage STORAGE", Short: "Create a datastore on a storage backend", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga datastore create fast --storage nas --wait"}
	c.Flags().StringVar(&on, "storage", "", "the storage backend that it is made on")
	s.completeFlag(c, "storage", "storagebackend")
	m := addMaking(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if on == "" {
			return refuse("%s: say --storage; `virga storage list` shows what there is", called(cmd))
		}
		return s.create(cmd, n, args[0], map[string]any{key(&datastoreOf.Spec.BackendID): on}, m)
	}
	return []*cobra.Command{c}
}

func devices() *noun {
	return &noun{api: client.As[record](client.Devices), inner: true, group: groupStorage, sample: "nas-h1", short: "Disks and folders that hosts found",
		long: "A device is what one host found behind storage. Two devices of the same identity are the same.", verbs: []string{"list", "show"},
		columns: []column{name("Storage", "storagebackend", at(&deviceOf.Spec.BackendID)), name("Host", "host", at(&deviceOf.Spec.HostID)), field("Path", at(&deviceOf.Spec.Path)),
			sized("Capacity", at(&deviceOf.Status.CapacityMiB)), sized("Free", at(&deviceOf.Status.FreeMiB)), field("Identity", at(&deviceOf.Spec.Identity)).wide(), trouble()}}
}
