package ovn

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// chassis is a host's row in the southbound database, as far as we need it. Its ovn-controller writes
// it; nobody takes it back for one that is dead.
type chassis struct {
	UUID string `ovsdb:"_uuid"`
	Name string `ovsdb:"name"`
}

// Southbound is OVN's southbound database, of which we only remove hosts that are gone.
type Southbound struct {
	// Gate, if set, cuts off a host before its rows go: it would write them anew.
	Gate     *Gate
	endpoint string

	mu     sync.Mutex
	client client.Client
}

// NewSouthbound speaks to the southbound server at an endpoint: unix:PATH. It connects when first used.
func NewSouthbound(endpoint string) *Southbound { return &Southbound{endpoint: endpoint} }

// Close ends the connection.
func (s *Southbound) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		s.client.Close()
	}
}

// RemoveChassis removes a host's rows: the others end their tunnels to it, and its address is free
// for a host that joins anew. Removing what is absent succeeds.
func (s *Southbound) RemoveChassis(ctx context.Context, hostID resource.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if s.Gate != nil {
		s.Gate.Cut(hostID)
	}
	if err := s.connect(ctx); err != nil {
		return fault.New(fault.Unavailable, "connect to OVN's southbound database: %w", err)
	}
	named := []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, string(hostID))}
	var ops []ovsdb.Operation
	for _, table := range []string{"Chassis_Private", "Chassis"} {
		ops = append(ops, ovsdb.Operation{Op: ovsdb.OperationDelete, Table: table, Where: named})
	}
	results, err := s.client.Transact(ctx, ops...)
	if err != nil {
		return fault.New(fault.Unavailable, "remove host %s from OVN: %w", hostID, err)
	}
	if _, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		return fault.New(fault.Internal, "OVN does not let go of host %s: %w", hostID, err)
	}
	return nil
}

// role is what OVN calls its rules of what a host may write.
const role = "ovn-controller"

// listen makes the server listen at a target for hosts, in their role, and nowhere else.
func (s *Southbound) listen(ctx context.Context, target string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.connect(ctx); err != nil {
		return fault.New(fault.Unavailable, "connect to OVN's southbound database: %w", err)
	}
	var err error
	for range 10 { // ovn-northd makes the only row when it starts, perhaps in the same moment
		if err = s.listenOnce(ctx, target); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fault.New(fault.Unavailable, "let hosts in to OVN's southbound database: %w", err)
}

func (s *Southbound) listenOnce(ctx context.Context, target string) error {
	global := ovsdb.Operation{Op: ovsdb.OperationSelect, Table: "SB_Global", Columns: []string{"_uuid"}}
	found, err := s.client.Transact(ctx, global)
	if err != nil {
		return err
	}
	row := ovsdb.Row{"connections": ovsdb.OvsSet{GoSet: []any{ovsdb.UUID{GoUUID: "gate"}}}}
	ops := []ovsdb.Operation{
		{Op: ovsdb.OperationInsert, Table: "Connection", UUIDName: "gate", Row: ovsdb.Row{"target": target, "role": role}},
		{Op: ovsdb.OperationInsert, Table: "SB_Global", Row: row},
	}
	if len(found) > 0 && len(found[0].Rows) > 0 {
		all := ovsdb.NewCondition("_uuid", ovsdb.ConditionNotEqual, ovsdb.UUID{GoUUID: "00000000-0000-0000-0000-000000000000"})
		ops[1] = ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: "SB_Global", Where: []ovsdb.Condition{all}, Row: row}
	}
	results, err := s.client.Transact(ctx, ops...)
	if err != nil {
		return err
	}
	if failed, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		return fmt.Errorf("%w: %v", err, failed)
	}
	return nil
}

func (s *Southbound) connect(ctx context.Context) error {
	if s.client != nil {
		return answers(ctx, s.client)
	}
	schema, err := model.NewClientDBModel("OVN_Southbound", map[string]model.Model{"Chassis": &chassis{}, "Chassis_Private": &chassis{}})
	if err != nil {
		return err
	}
	s.client, err = dial(ctx, s.endpoint, schema)
	return err
}

// ChassisRemover is the southbound database to its loop.
type ChassisRemover interface {
	RemoveChassis(ctx context.Context, hostID resource.ID) error
}

// NewChassisLoop removes from OVN the hosts that were removed from the cloud, and again whenever it
// looks: one that comes back writes itself in until its agent has learned that it is over.
func NewChassisLoop(db *store.DB, s ChassisRemover) *reconcile.Loop {
	return &reconcile.Loop{Name: "network/chassis", Kind: host.Removals.Kind, Step: func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
		r := store.Find(db.Snapshot(), host.Removals, id)
		if r == nil {
			return reconcile.Result{}, nil
		}
		if err := db.Confirm(ctx); err != nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{}, s.RemoveChassis(ctx, r.Spec.HostID)
	}}
}
