package ovn

import (
	"reflect"
	"slices"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

// table says which columns of a table are ours to write, and which of them refer to other rows.
// A row of a table that is no root goes when nothing refers to it any more.
type table struct {
	name    string
	columns []string
	refs    []string
	root    bool
}

var tables = []table{
	{name: nbdb.LogicalSwitchTable, columns: []string{"name", "ports", "qos_rules", "external_ids"}, refs: []string{"ports", "qos_rules"}, root: true},
	{name: nbdb.LogicalSwitchPortTable, columns: []string{"name", "type", "addresses", "port_security", "dhcpv4_options", "options", "external_ids"}, refs: []string{"dhcpv4_options"}},
	{name: nbdb.QoSTable, columns: []string{"direction", "match", "bandwidth", "priority", "external_ids"}},
	{name: nbdb.LogicalRouterTable, columns: []string{"name", "ports", "nat", "static_routes", "policies", "options", "external_ids"}, refs: []string{"ports", "nat", "static_routes", "policies"}, root: true},
	{name: nbdb.LogicalRouterPortTable, columns: []string{"name", "mac", "networks", "gateway_chassis", "external_ids"}, refs: []string{"gateway_chassis"}},
	{name: nbdb.LogicalRouterStaticRouteTable, columns: []string{"ip_prefix", "nexthop", "output_port", "external_ids"}},
	{name: nbdb.LogicalRouterPolicyTable, columns: []string{"priority", "match", "action", "external_ids"}},
	{name: nbdb.NATTable, columns: []string{"type", "external_ip", "logical_ip", "external_ids"}},
	{name: nbdb.GatewayChassisTable, columns: []string{"name", "chassis_name", "priority", "external_ids"}},
	{name: nbdb.DHCPOptionsTable, columns: []string{"cidr", "options", "external_ids"}, root: true},
	{name: nbdb.PortGroupTable, columns: []string{"name", "ports", "acls", "external_ids"}, refs: []string{"ports", "acls"}, root: true},
	{name: nbdb.ACLTable, columns: []string{"priority", "direction", "match", "action", "external_ids"}},
	{name: nbdb.AddressSetTable, columns: []string{"name", "addresses", "external_ids"}, root: true},
	{name: nbdb.StaticMACBindingTable, columns: []string{"logical_port", "ip", "mac", "override_dynamic_mac"}, root: true},
}

// existing is what the database has: table, row id, row.
type existing map[string]map[string]model.Model

// Plan is the difference between what is there and what is wanted.
type plan struct {
	create []model.Model // with a made-up row id by which others in the plan refer to it
	update []update
	remove []model.Model
}

type update struct {
	row     model.Model
	columns []string
}

func (p plan) empty() bool { return len(p.create)+len(p.update)+len(p.remove) == 0 }

// makePlan compares. It changes neither what it is given.
func makePlan(have existing, want []Row) plan {
	var p plan
	ids, ours := map[string]string{}, map[string]bool{}
	for _, t := range tables {
		for uuid, row := range have[t.name] {
			if key := keyOf(row); key != "" {
				ours[uuid] = true
				if ids[key] == "" || uuid < ids[key] {
					ids[key] = uuid
				}
			}
		}
	}
	there := func(key string) bool { return ids[key] != "" && ours[ids[key]] }
	idOf := func(key string) string {
		if ids[key] == "" {
			ids[key] = "n" + strings.NewReplacer("-", "_", "/", "_", ".", "_").Replace(key)
		}
		return ids[key]
	}
	wanted := map[string]bool{}
	for _, w := range want {
		t := tableOf(w.Model)
		row := model.Clone(w.Model)
		old := model.Model(nil)
		if there(w.Key) {
			old = have[t.name][ids[w.Key]]
		}
		*uuidOf(row) = idOf(w.Key)
		wanted[idOf(w.Key)] = true
		resolve(t, row, old, idOf, ours)
		if old == nil {
			p.create = append(p.create, row)
		} else if changed := differing(t, row, old); len(changed) > 0 {
			p.update = append(p.update, update{row, changed})
		}
	}
	for _, t := range tables {
		for _, uuid := range sortedKeys(have[t.name]) {
			if t.root && ours[uuid] && !wanted[uuid] {
				p.remove = append(p.remove, have[t.name][uuid])
			}
		}
	}
	return p
}

// resolve turns keys into row ids, and keeps references to rows that are not ours.
func resolve(t table, row, old model.Model, idOf func(string) string, ours map[string]bool) {
	for _, name := range t.refs {
		switch v := column(row, name).Addr().Interface().(type) {
		case *[]string:
			for i, key := range *v {
				(*v)[i] = idOf(key)
			}
			if old == nil {
				continue
			}
			for _, uuid := range *column(old, name).Addr().Interface().(*[]string) {
				if !ours[uuid] && !slices.Contains(*v, uuid) {
					*v = append(*v, uuid)
				}
			}
		case **string:
			if *v != nil {
				id := idOf(**v)
				*v = &id
			}
		}
	}
}

func differing(t table, row, old model.Model) []string {
	var out []string
	for _, name := range t.columns {
		if !same(column(row, name), column(old, name)) {
			out = append(out, name)
		}
	}
	return out
}

// same compares as the database does: sets have no order, and nothing is an empty set.
func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Slice:
		x, y := slices.Sorted(slices.Values(a.Interface().([]string))), slices.Sorted(slices.Values(b.Interface().([]string)))
		return slices.Equal(x, y)
	case reflect.Map:
		return a.Len() == 0 && b.Len() == 0 || reflect.DeepEqual(a.Interface(), b.Interface())
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// keyOf is the key of a row that is ours; empty for a stranger's.
func keyOf(row model.Model) string {
	if binding, ok := row.(*nbdb.StaticMACBinding); ok {
		if strings.HasPrefix(binding.LogicalPort, "virga-out-") { // the table has no external ids
			return "mac/" + binding.LogicalPort
		}
		return ""
	}
	return column(row, "external_ids").Interface().(map[string]string)[mark]
}

func uuidOf(row model.Model) *string { return column(row, "_uuid").Addr().Interface().(*string) }

func column(row model.Model, name string) reflect.Value {
	v := reflect.ValueOf(row).Elem()
	i, there := fields[v.Type()][name]
	if !there {
		panic("ovn: no column " + name + " in " + v.Type().Name())
	}
	return v.Field(i)
}

// fields says where in a row's type its columns are.
var fields = func() map[reflect.Type]map[string]int {
	out := map[reflect.Type]map[string]int{}
	for pointer := range tableNames {
		t := pointer.Elem()
		out[t] = map[string]int{}
		for i := range t.NumField() {
			out[t][t.Field(i).Tag.Get("ovsdb")] = i
		}
	}
	return out
}()

var tableNames = map[reflect.Type]string{
	reflect.TypeFor[*nbdb.LogicalSwitch]():            nbdb.LogicalSwitchTable,
	reflect.TypeFor[*nbdb.LogicalSwitchPort]():        nbdb.LogicalSwitchPortTable,
	reflect.TypeFor[*nbdb.QoS]():                      nbdb.QoSTable,
	reflect.TypeFor[*nbdb.LogicalRouter]():            nbdb.LogicalRouterTable,
	reflect.TypeFor[*nbdb.LogicalRouterPort]():        nbdb.LogicalRouterPortTable,
	reflect.TypeFor[*nbdb.LogicalRouterStaticRoute](): nbdb.LogicalRouterStaticRouteTable,
	reflect.TypeFor[*nbdb.LogicalRouterPolicy]():      nbdb.LogicalRouterPolicyTable,
	reflect.TypeFor[*nbdb.AddressSet]():               nbdb.AddressSetTable,
	reflect.TypeFor[*nbdb.PortGroup]():                nbdb.PortGroupTable,
	reflect.TypeFor[*nbdb.ACL]():                      nbdb.ACLTable,
	reflect.TypeFor[*nbdb.NAT]():                      nbdb.NATTable,
	reflect.TypeFor[*nbdb.GatewayChassis]():           nbdb.GatewayChassisTable,
	reflect.TypeFor[*nbdb.DHCPOptions]():              nbdb.DHCPOptionsTable,
	reflect.TypeFor[*nbdb.StaticMACBinding]():         nbdb.StaticMACBindingTable,
}

func tableOf(row model.Model) table {
	name := tableNames[reflect.TypeOf(row)]
	for _, t := range tables {
		if t.name == name {
			return t
		}
	}
	panic("ovn: no table for " + reflect.TypeOf(row).String())
}

func sortedKeys(m map[string]model.Model) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
