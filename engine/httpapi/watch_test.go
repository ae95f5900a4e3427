package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

type heard struct {
	event, id string
	data      struct {
		Revision int64
		Type     string
		Kind     string
		Object   Boat
	}
}

// listen reads a watch until enough says so, and then hangs up.
func (y *toy) listen(who, query string, enough func(heard) bool, headers ...string) {
	y.t.Helper()
	ctx, hangUp := context.WithTimeout(y.t.Context(), 20*time.Second)
	defer hangUp()
	req, _ := http.NewRequestWithContext(ctx, "GET", y.server.URL+"/v1/watch?"+query, nil)
	req.Header.Set("Authorization", "Bearer "+who)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := y.server.Client().Do(req)
	if err != nil {
		y.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		y.t.Fatalf("status %d", resp.StatusCode)
	}
	var h heard
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "event":
			h.event = value
		case "id":
			h.id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &h.data); err != nil {
				y.t.Fatal(err)
			}
		case "":
			if enough(h) {
				return
			}
			h = heard{}
		}
	}
	y.t.Fatalf("the stream ended: %v", lines.Err())
}

func TestAWatchTellsWhatIsThereAndThenWhatChanges(t *testing.T) {
	y := newToy(t)
	y.boat("root", "b", "beth")
	y.boat("member", "a", "ann")
	var told []string
	var doing sync.WaitGroup
	y.listen("member", "kinds=boat", func(h heard) bool {
		told = append(told, strings.TrimSpace(h.event+" "+h.data.Type+" "+h.data.Object.Name))
		switch {
		case h.event == "synced":
			doing.Go(func() {
				y.do("root", "POST", "/v1/projects/b/boats", `{"name":"bill"}`)
				y.do("member", "POST", inA, `{"name":"amy"}`)
				y.do("member", "DELETE", inA+"/ann", "")
			})
		case h.event == "bookmark":
			told = told[:len(told)-1]
		}
		return h.data.Type == "delete"
	})
	doing.Wait()
	if got := strings.Join(told, ", "); got != "change put ann, synced, change put amy, change delete ann" {
		t.Error(got)
	}
}

func TestAWatchThatBreaksGoesOnWithoutLoss(t *testing.T) {
	y := newToy(t)
	const n = 60
	w := store.Specs(store.NewRegistry(), boats, "test")
	var doing sync.WaitGroup
	defer doing.Wait()
	doing.Go(func() {
		for i := range n {
			b := y.DB.Begin()
			for _, twin := range []string{"x", "y"} { // two records in one revision
				r := &Boat{}
				r.Name, r.Project = fmt.Sprintf("%s%d", twin, i), "a"
				w.Create(b, r)
			}
			if err := y.DB.Commit(t.Context(), b); err != nil {
				t.Error(err)
			}
		}
	})
	seen, last, breaks := map[string]bool{}, "0", 0
	for len(seen) < 2*n && breaks < 500 {
		left := 5 // odd, so that it often breaks between the twins
		breaks++
		y.listen("viewer", "", func(h heard) bool {
			if h.data.Object.Name != "" {
				seen[h.data.Object.Name] = true
			}
			if h.id != "" {
				last = h.id
			}
			left--
			return left == 0
		}, "Last-Event-ID", last)
	}
	for i := range n {
		if !seen[fmt.Sprintf("x%d", i)] || !seen[fmt.Sprintf("y%d", i)] {
			t.Fatalf("revision %d was lost", i)
		}
	}
}

// babble commits n times what nobody sees, and waits until the view is through with it.
func (y *toy) babble(n int) {
	y.t.Helper()
	change := store.Change{Key: store.ClaimKey("a", "k"), Op: store.Put, Value: []byte(`""`), Expect: store.Any}
	for range n {
		revision, err := y.DB.Store().Commit(y.t.Context(), change)
		if err == nil {
			err = y.DB.WaitFor(y.t.Context(), revision)
		}
		if err != nil {
			y.t.Fatal(err)
		}
	}
}

func TestAWatchOfAPastThatIsGoneIsTooLate(t *testing.T) {
	y := newToy(t)
	y.babble(21_000) // the memory store keeps 10,000 revisions, and the view's fan-out 16,384
	y.want(410, y.do("member", "GET", "/v1/watch?after=1", "")).problem(t)
	y.want(422, y.do("member", "GET", "/v1/watch?after=x", "")).problem(t)
	y.want(404, y.do("member", "GET", "/v1/watch?kinds=ship", "")).problem(t)
}

func TestAClientThatNeverReadsItsWatchIsCutOff(t *testing.T) {
	y := newToy(t)
	req, _ := http.NewRequest("GET", y.server.URL+"/v1/watch", nil)
	req.Header.Set("Authorization", "Bearer root")
	resp, err := y.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	// Nobody reads resp.Body. Others are served, and the writer is let go of.
	big := strings.Repeat("x", 100_000)
	for i := range 200 {
		began := time.Now()
		y.want(201, y.do("member", "POST", inA, fmt.Sprintf(`{"name":"n%d","spec":{"note":"%s"}}`, i, big)))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("others are held up: %s", took)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for y.watching.Load() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the watch that nobody reads is still there")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestAThousandWatchersCostOneReadingOfAChange(t *testing.T) {
	y := newToy(t)
	read, shown := 0, 0
	k := *y.kinds[boats.Kind]
	k.New = func() resource.Object { read++; return boats.New() }
	k.See = func(x resource.Object, as resource.Sight, project string) resource.Object {
		shown++
		return boats.See(x, as, project)
	}
	value, _ := json.Marshal(&Boat{Meta: resource.Meta{Kind: boats.Kind, ID: "1", Name: "ann", Project: "a"}})
	e := store.Event{Key: resource.Ref{Kind: boats.Kind, Project: "a", ID: "1"}, Value: value}
	for range 1000 {
		if s := (&stream{api: y.API, caller: people["member"], kinds: map[resource.Kind]*kindRoutes{boats.Kind: &k}}); s.see(e, 7) == nil {
			t.Fatal("not told")
		}
	}
	for revision := range int64(2 * remembered) {
		y.events.of(&k, e, 100+revision, y.projectName)
	}
	if read != 1+2*remembered || shown != 1 || len(y.events.told) > remembered {
		t.Errorf("read %d times, made ready %d times, %d are remembered", read, shown, len(y.events.told))
	}
	if s := (&stream{api: y.API, caller: people["host"], kinds: map[resource.Kind]*kindRoutes{boats.Kind: &k}}); s.see(e, 7) != nil {
		t.Error("who may not read it was told")
	}
}

// stuck is a reader that hears nothing from its first change on until it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	held, free chan struct{}
	once       sync.Once
}

func (s *stuck) Write(text []byte) (int, error) {
	if strings.HasPrefix(string(text), "event: change") {
		s.once.Do(func() { close(s.held); <-s.free })
	}
	return s.ResponseRecorder.Write(text)
}

func TestAReaderThatFallsFarBehindIsToldSoAtTheEnd(t *testing.T) {
	y := newToy(t)
	y.boat("root", "a", "ann")
	s := &stuck{ResponseRecorder: httptest.NewRecorder(), held: make(chan struct{}), free: make(chan struct{})}
	r := httptest.NewRequest("GET", "/v1/watch?after=0", nil).WithContext(t.Context())
	r.Header.Set("Authorization", "Bearer root")
	done := make(chan struct{})
	go func() { defer close(done); y.API.ServeHTTP(s, r) }()
	<-s.held
	y.babble(17_000)
	close(s.free)
	<-done
	events := strings.Split(strings.TrimSpace(s.Body.String()), "\n\n")
	if last := events[len(events)-1]; !strings.HasPrefix(last, "event: error") || !strings.Contains(last, "too-late") || !strings.Contains(last, "list again") {
		t.Errorf("the last word is %s", last)
	}
}
