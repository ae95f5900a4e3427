package network

import (
	"context"
	"net/http"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
)

type traceIn struct {
	Project  string `path:"project" doc:"Name of the project."`
	From     string `query:"from" required:"true" doc:"The port that sends, or the VM, by name or id."`
	To       string `query:"to" required:"true" doc:"The port that receives, or the VM, by name or id; or an IPv4 address."`
	Protocol string `query:"protocol" default:"icmp" enum:"tcp,udp,icmp" doc:"What the connection speaks."`
	Port     int64  `query:"port" doc:"The port that is connected to, of tcp and udp."`
}

type traceOut struct{ Body *Trace }

// registerTrace offers the way of a packet.
func registerTrace(a *httpapi.API) {
	httpapi.Handle(a, httpapi.Op{ID: "trace-network", Action: "network.trace", Method: http.MethodGet, Path: "/v1/projects/{project}/trace", Right: httpapi.Read, Tag: "networks",
		Summary: "Say which way a packet takes, and where it is dropped",
		Doc:     "Follows the first packet of a connection from port to port, hop by hop, through what the records say: security groups, switches, routers, tunnels, the way out."},
		func(_ context.Context, c *httpapi.Call, in *traceIn) (*traceOut, error) {
			flow := Flow{Protocol: Protocol(in.Protocol), Port: in.Port}
			if (flow.Protocol == ICMP) != (flow.Port == 0) || flow.Port < 0 || flow.Port > 65535 {
				return nil, fault.New(fault.Invalid, "trace from %s to %s: tcp and udp have a port between 1 and 65535, icmp has none", in.From, in.To)
			}
			trace, err := traceNamed(c.Snapshot, c.DB.Catalog(), c.Project, in.From, in.To, flow, c.Sight(c.Project) >= resource.Operator)
			if err != nil {
				return nil, err
			}
			return &traceOut{trace}, nil
		})
}
