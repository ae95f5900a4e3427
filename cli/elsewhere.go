package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// elsewhere are verbs of other platforms' command lines, and those that do the same here.
var elsewhere = map[string][]string{
	"reboot": {"restart"}, "reset": {"restart --force"}, "shutdown": {"stop"}, "poweroff": {"stop"}, "kill": {"stop --force"},
	"destroy": {"stop --force", "delete"}, "terminate": {"delete"}, "remove": {"delete"}, "undefine": {"delete"}, "purge": {"delete"},
	"boot": {"start"}, "launch": {"create"}, "run": {"create"}, "define": {"create"}, "new": {"create"},
	"suspend": {"pause"}, "unpause": {"resume"}, "unsuspend": {"resume"},
	"describe": {"show"}, "info": {"show"}, "status": {"show"}, "inspect": {"show"}, "dominfo": {"show"}, "logs": {"log"},
	"update": {"edit"}, "set": {"edit"}, "modify": {"edit"}, "config": {"edit"}, "tag": {"label"},
	"extend": {"resize"}, "grow": {"resize"}, "expand": {"resize"}, "upload": {"import"}, "add": {"import", "create"},
	"scp": {"cp"}, "shell": {"ssh", "console"}, "vnc": {"screenshot"}, "attach-volume": {"attach volume"}, "detach-volume": {"detach volume"},
}

// sameHere gives the verbs of a command that do what a word does on another platform.
func sameHere(cmd *cobra.Command, word string) []string {
	return slices.DeleteFunc(slices.Clone(elsewhere[word]), func(verb string) bool {
		first, _, _ := strings.Cut(verb, " ")
		found, _, err := cmd.Find([]string{first})
		return err != nil || found == cmd
	})
}
