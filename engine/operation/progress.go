package operation

import (
	"sync"

	"github.com/virga-cloud/virga/engine/resource"
)

// Progress is how far the present step of an operation is. It is told to people and lies in the
// memory of the server that runs the operation only.
type Progress struct {
	// Done of Total, in the unit that Words names.
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
	// Words say it in words: "copied 3 of 20 GiB".
	Words string `json:"words,omitempty"`
}

type registry struct {
	mu sync.Mutex
	of map[resource.ID]Progress
}

func (r *registry) tell(id resource.ID, p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[id] = p
}

func (r *registry) forget(id resource.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, id)
}

func (r *registry) get(id resource.ID) (Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.of[id]
	return p, ok
}
