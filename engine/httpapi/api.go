package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Options are what the API is told by the wiring. The zero value lets nobody in.
type Options struct {
	Title   string
	Version string
	// Authenticate says who asks; its errors are faults.
	Authenticate func(*http.Request) (Caller, error)
	// Note may add to the commit what is to be remembered of it, for example an event.
	Note func(c *Call, verb string, about *resource.Meta)
	// Audit keeps every request that would change something; nil: nobody does.
	Audit Auditor
	// Ready says whether the server can do its work; /v1/status shows it.
	Ready func() error
	// ServiceManager says what starts this server; /v1/status shows it.
	ServiceManager func() string
	// Document is the OpenAPI document in YAML that the program was built with; without it one is
	// made of the routes, without the words of the source's comments.
	Document []byte
	// Beat is the time between two bookmarks of a watch (10 s), Patience how long a watch waits
	// for a reader that does not read (15 s).
	Beat, Patience time.Duration
	// Recheck is how often who has a request that lasts is asked for again (2 s).
	Recheck time.Duration
}

// API is all routes.
type API struct {
	huma.API
	Mux     *http.ServeMux
	DB      *store.DB
	options Options
	names   *namer
	lenient huma.Registry // schemas with no required fields, to check requests with
	kinds   map[resource.Kind]*kindRoutes

	routes   []string
	actions  map[string]*permission // by their names
	watching atomic.Int64           // how many watches run
	events   eventCache
}

// Routes lists what is served, as "METHOD /path".
func (a *API) Routes() []string { return slices.Clone(a.routes) }

const maxBody = 1 << 20

// New makes an API with the routes that are no domain's: status, watch, document, reference page.
func New(db *store.DB, o Options) *API {
	if o.Title == "" {
		o.Title = "Virga"
	}
	if o.Beat == 0 {
		o.Beat = 10 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 15 * time.Second
	}
	if o.Recheck == 0 {
		o.Recheck = 2 * time.Second
	}
	a := &API{Mux: http.NewServeMux(), DB: db, options: o, names: newNamer(db.Catalog()), kinds: map[resource.Kind]*kindRoutes{}, actions: map[string]*permission{}}
	cfg := huma.DefaultConfig(o.Title, o.Version)
	cfg.DocsPath, cfg.SchemasPath, cfg.OpenAPIPath, cfg.CreateHooks = "", "", "", nil
	cfg.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", a.names.name)
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":       {Type: "http", Scheme: "bearer", Description: "The secret of a token."},
		"certificate": {Type: "mutualTLS", Description: "A host's certificate from the cloud's own authority."},
	}
	cfg.RejectUnknownQueryParameters = true
	a.API = humago.New(a.Mux, cfg)
	a.lenient = lenientRegistry()
	a.Mux.HandleFunc("/v1/", a.noRoute)
	a.registerStatus()
	a.registerWatch()
	a.registerDocument()
	return a
}

// lenientRegistry makes a registry in which nothing is required: what is missing is decided by the
// checks of the domain after its defaults.
func lenientRegistry() huma.Registry {
	cfg := huma.DefaultConfig("", "")
	cfg.DocsPath, cfg.SchemasPath, cfg.OpenAPIPath, cfg.CreateHooks = "", "", "", nil
	cfg.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		return t.PkgPath() + "." + t.Name() + hint
	})
	cfg.FieldsOptionalByDefault = true
	humago.New(http.NewServeMux(), cfg)
	return cfg.Components.Schemas
}

// ServeHTTP answers a request. A panic costs the one request that caused it.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		x := recover()
		if x == nil || r.Context().Err() != nil {
			return
		}
		if err, ok := x.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(x)
		}
		slog.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "panic", x, "stack", string(debug.Stack()))
		writeProblem(w, r, fault.New(fault.Internal, "%s %s: a bug of ours: %v", r.Method, r.URL.Path, x))
	}()
	if _, pattern := a.Mux.Handler(r); pattern == "" {
		a.noRoute(w, r)
		return
	}
	a.Mux.ServeHTTP(w, r)
}

func (a *API) noRoute(w http.ResponseWriter, r *http.Request) {
	var possible []string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := a.Mux.Handler(probe); strings.HasPrefix(pattern, method+" ") {
			possible = append(possible, method)
			if method == "GET" {
				possible = append(possible, "HEAD")
			}
		}
	}
	if len(possible) == 0 {
		writeProblem(w, r, fault.New(fault.NotFound, "there is no %s; /docs lists what there is", r.URL.Path))
		return
	}
	allowed := strings.Join(append(possible, "OPTIONS"), ", ")
	w.Header().Set("Allow", allowed)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeProblem(w, r, refusal(http.StatusMethodNotAllowed, "%s has no %s; it has %s", r.URL.Path, r.Method, allowed))
}

// NewServer makes an HTTP server with limits on what a stranger may cost.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: patient{h, sending}, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog:    slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
}

// Status is what anybody may know of the server.
type Status struct {
	Version  string `json:"version" doc:"The version of the program."`
	Ready    string `json:"ready" enum:"yes,no" doc:"Whether the server can do its work."`
	Why      string `json:"why,omitempty" doc:"What is missing when it is not ready."`
	Revision int64  `json:"revision" doc:"The revision of the store that the server shows."`
	// UnreadableRecords is what GET /v1/unreadable-records lists.
	UnreadableRecords int `json:"unreadableRecords,omitempty" doc:"How many records the server cannot read; GET /v1/unreadable-records lists them."`

	ServiceManager string `json:"serviceManager,omitempty" enum:"systemd,supervisor,none" doc:"What starts the server: systemd, at boot and when it has ended; supervisor, when it has died, but not at boot; none."`
}

func (a *API) registerStatus() {
	type answer struct{ Body Status }
	Handle(a, Op{ID: "get-status", Method: "GET", Path: "/v1/status", Right: Public, Tag: "server",
		Summary: "Say whether the server is ready"}, func(context.Context, *Call, *struct{}) (*answer, error) {
		s := Status{Version: a.options.Version, Ready: "yes", Revision: a.DB.Revision(), UnreadableRecords: len(a.DB.Unreadable())}
		if s.Revision == 0 {
			s.Ready, s.Why = "no", "the records are not read yet"
		}
		if a.options.Ready != nil {
			if err := a.options.Ready(); err != nil {
				s.Ready, s.Why = "no", fmt.Sprint(err)
			}
		}
		if a.options.ServiceManager != nil {
			s.ServiceManager = a.options.ServiceManager()
		}
		return &answer{s}, nil
	})
}
