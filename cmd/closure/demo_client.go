package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"closure/domain"
	"closure/eventstore"
)

// problem is an error answer (RFC 9457).
type problem struct {
	Title    string           `json:"title"`
	Detail   string           `json:"detail"`
	Blockers []domain.Blocker `json:"blockers"`
}

// request makes one HTTP call, shows it, and decodes the answer into into (nil: it must be empty).
func (d *demo) request(ctx context.Context, p *page, method, path string, body, into any, want int) error {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.app.HTTPURL+path, payload)
	if err != nil {
		return err
	}
	d.identify(req)
	if body != nil {
		req.Header.Set("content-type", "application/json")
	}
	res, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	return d.judge(p, call{Request: method + " " + d.cast.shorten(path), Answer: res.Status}, res.StatusCode, answer, into, want)
}

// judge shows the call, and tells whether it came out as it had to.
func (d *demo) judge(p *page, c call, status int, answer []byte, into any, want int) error {
	if status >= 400 {
		var refused problem
		if err := json.Unmarshal(answer, &refused); err != nil {
			return fmt.Errorf("%s: the answer is no problem+json: %w", c.Request, err)
		}
		c.Answer += ": " + refused.Detail
	}
	p.call(c)
	if status != want {
		return fmt.Errorf("%s: got %d, want %d: %s", c.Request, status, want, answer)
	}
	if into == nil {
		if len(answer) > 0 {
			return fmt.Errorf("%s: the answer must be empty, got %s", c.Request, answer)
		}
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s: %w", c.Request, err)
	}
	return nil
}

// look reads a checklist and shows it.
func (d *demo) look(ctx context.Context, p *page, kind, id string) (domain.Closure, error) {
	var c domain.Closure
	quiet := &page{show: jsonPresenter{io.Discard}}
	if err := d.request(ctx, quiet, http.MethodGet, "/"+kind+"s/"+id+"/closure", nil, &c, http.StatusOK); err != nil {
		return c, err
	}
	p.checklist(checklist{Of: d.cast.name(id), Closure: c, name: d.cast.name})
	return c, nil
}

// tell sends a command or a fact over NATS as an upstream service does, and shows the answer.
func (d *demo) tell(ctx context.Context, p *page, kind domain.Kind, id, command string, fields map[string]any) error {
	body := map[string]any{"command_id": uuid.NewString(), "client_id": d.cast.client, "actor": "demo upstream"}
	for k, v := range fields {
		body[k] = v
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	subject := eventstore.RPCSubject(string(kind), id, command)
	reply, err := d.conn.RequestWithContext(ctx, subject, data)
	if err != nil {
		return fmt.Errorf("%s: %w", subject, err)
	}
	var a answer
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return fmt.Errorf("%s: %w", subject, err)
	}
	var shown []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		shown = append(shown, fmt.Sprint(name, " ", fields[name]))
	}
	p.call(call{Request: d.cast.shorten("NATS " + subject + "  " + strings.Join(shown, ", ")), Answer: a.Result})
	if a.Result != "accepted" {
		return fmt.Errorf("%s: got %s, want accepted", subject, reply.Data)
	}
	return nil
}

// received is one event that came in over the webhook.
type received struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	// ResourceID and Name say whose event it is.
	ResourceID string `json:"resource_id"`
	Name       string `json:"name"`
}

// receiver is the demo's own endpoint for webhooks.
type receiver struct {
	url    string
	server *http.Server

	mu   sync.Mutex
	got  []received
	seen map[string]bool
	more chan struct{} // closed and replaced whenever something comes in
}

func startReceiver(ctx context.Context) (*receiver, error) {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + listener.Addr().String() + "/hook", seen: map[string]bool{}, more: make(chan struct{})}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

func (r *receiver) stop(ctx context.Context) error { return r.server.Shutdown(ctx) }

// ServeHTTP takes a delivery. Deliveries come at least once, so events are told apart by their ids.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var delivery struct {
		Payload []struct {
			ID     string `json:"id"`
			Type   string `json:"type"`
			Object struct {
				ID string `json:"id"`
			} `json:"object"`
		} `json:"payload"`
	}
	if err := json.NewDecoder(req.Body).Decode(&delivery); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range delivery.Payload {
		if !r.seen[e.ID] {
			r.seen[e.ID] = true
			r.got = append(r.got, received{ID: e.ID, Type: e.Type, ResourceID: e.Object.ID})
		}
	}
	close(r.more)
	r.more = make(chan struct{})
	w.WriteHeader(http.StatusNoContent)
}

// await shows the events from a place on until the last of the wanted ones has come, and gives the place behind it. Each
// is the type of an event and the id of its resource.
func (d *demo) await(ctx context.Context, p *page, want ...[2]string) error {
	r := d.receiver
	for {
		r.mu.Lock()
		for ; d.cast.shown < len(r.got); d.cast.shown++ {
			e := r.got[d.cast.shown]
			e.Name = d.cast.name(e.ResourceID)
			p.webhook(e)
		}
		missing := missingOf(r.got, want)
		more := r.more
		r.mu.Unlock()
		if missing == nil {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("no webhook %s for %s came in time", missing[0], d.cast.name(missing[1]))
		}
	}
}

func missingOf(got []received, want [][2]string) []string {
	for _, w := range want {
		found := false
		for _, e := range got {
			found = found || (e.Type == w[0] && (w[1] == "" || e.ResourceID == w[1]))
		}
		if !found {
			return w[:]
		}
	}
	return nil
}
