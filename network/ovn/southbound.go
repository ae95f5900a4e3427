package ovn

import (
	"context"
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
