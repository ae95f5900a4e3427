// Command virga is the whole of Virga: the command line, the server and the agent.
//
// The roles are lists of loops: server.go says what a server does and who may write which half of
// which record, agent.go what an agent does on its host. `virga up` starts both in one process
// on a first host; `virga join` starts an agent alone on a further one. Everything else a person
// types goes over the HTTP API (cli).
package main

import (
	"os"

	"github.com/virga-cloud/virga/cli"
)

// version is set by the build.
var version = "unknown"

func main() {
	root := cli.New(version)
	root.AddCommand(upCommand(), downCommand(), joinCommand(), backupCommand(), restoreCommand(), checkCommand(), daemonCommand(), superviseCommand(), documentCommand())
	os.Exit(cli.Run(root))
}
