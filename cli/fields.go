package cli

import (
	"reflect"
	"strings"
	"time"

	"github.com/virga-cloud/virga/client"
)

// The generated models, whose fields name what is read of a record, as in at(&vmOf.Spec.CPUs): one that is
// renamed, or goes, does not compile.
var (
	affinityRuleOf  = model[client.AffinityRule]()
	allocationOf    = model[client.Allocation]()
	attachmentOf    = model[client.Attachment]()
	backendOf       = model[client.Backend]()
	claimOf         = model[client.Claim]()
	clusterOf       = model[client.Cluster]()
	dnsZoneOf       = model[client.DNSZone]()
	deviceOf        = model[client.Device]()
	datastoreOf     = model[client.Datastore]()
	eventOf         = model[client.Event]()
	hostOf          = model[client.Host]()
	imageOf         = model[client.Image]()
	imageCopyOf     = model[client.ImageCopy]()
	instanceOf      = model[client.Instance]()
	evacuationOf    = model[client.Evacuation]()
	livenessOf      = model[client.Liveness]()
	networkOf       = model[client.Network]()
	operationOf     = model[client.Operation]()
	taskOf          = model[client.Task]()
	ofSecret        = model[client.Secret]()
	portOf          = model[client.Port]()
	poolOf          = model[client.Pool]()
	portBindingOf   = model[client.PortBinding]()
	projectOf       = model[client.Project]()
	removalOf       = model[client.Removal]()
	sessionOf       = model[client.Session]()
	subnetOf        = model[client.Subnet]()
	tokenOf         = model[client.Token]()
	vmOf            = model[client.VM]()
	vmSnapshotOf    = model[client.VMSnapshot]()
	volumeOf        = model[client.Volume]()
	securityGroupOf = model[client.SecurityGroup]()
	snapshotOf      = model[client.VolumeSnapshot]()
	userOf          = model[client.User]()
)

// spot is where a field of a model lies, and what it is: a struct begins where its first field does.
type spot struct {
	address uintptr
	is      reflect.Type
}

// paths are those of the fields of all models.
var paths = map[spot]string{}

// model makes the one value of a model by whose fields paths are named.
func model[R any]() *R {
	of := new(R)
	spread(reflect.ValueOf(of).Elem(), "")
	return of
}

func spread(v reflect.Value, above string) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		path, inner := strings.TrimPrefix(above+"."+name, "."), v.Field(i)
		paths[spot{inner.Addr().Pointer(), inner.Type()}] = path
		if inner.Kind() == reflect.Pointer && inner.Type().Elem().Kind() == reflect.Struct {
			inner.Set(reflect.New(inner.Type().Elem())) // so that its fields have a place
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner.Type() != reflect.TypeFor[time.Time]() {
			spread(inner, path)
		}
	}
}

// at gives the path of a field of a model.
func at(field any) string {
	v := reflect.ValueOf(field)
	path, known := paths[spot{v.Pointer(), v.Type().Elem()}]
	if !known {
		panic("cli: this is no field of a model")
	}
	return path
}

// key gives the last word of the path of a field: its name in the spec that it belongs to.
func key(field any) string {
	path := at(field)
	return path[strings.LastIndexByte(path, '.')+1:]
}
