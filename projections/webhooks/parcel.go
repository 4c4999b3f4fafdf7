package webhooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"closure/domain"
	"closure/eventstore/tracing"
)

// event is a published event (CONTRACT: A published event) as a delivery shows it.
type event struct {
	ID        string `json:"id"`
	CreatedAt string `json:"created_at"`
	Type      string `json:"type"`
}

// item is an event in hand.
type item struct {
	event
	seq      uint64 // in CLOSURE_EVENTS
	reply    string // where it is acknowledged
	resource string // what it is about: the last token of its subject
	trace    tracing.Context
	body     []byte // as it stands in the payload; nil: it has to be read again
}

// readItem reads a message of CLOSURE_EVENTS. An error means that it was not written by an engine.
func readItem(subject string, header nats.Header, data []byte, seq uint64, webhookID string) (*item, error) {
	it := &item{seq: seq, resource: subject[strings.LastIndexByte(subject, '.')+1:], trace: tracing.Stored(header)}
	for _, h := range []struct {
		name string
		into *string
	}{{"ce-id", &it.ID}, {"ce-time", &it.CreatedAt}, {"ce-type", &it.Type}} {
		if *h.into = header.Get(h.name); *h.into == "" {
			return nil, fmt.Errorf("the header %s is missing", h.name)
		}
	}
	if !json.Valid(data) {
		return nil, errors.New("the body is not JSON")
	}
	var err error
	it.body, err = entry(it.event, data, webhookID)
	return it, err
}

// entry is one member of the payload: {id, created_at, type, object, webhook_id}. The object is put in byte for byte as it
// was published: an encoder would write it in its own way.
func entry(e event, object []byte, webhookID string) ([]byte, error) {
	head, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.ID, err)
	}
	body := make([]byte, 0, len(head)+len(object)+len(webhookID)+32)
	body = append(body, head[:len(head)-1]...)
	body = append(body, `,"object":`...)
	body = append(body, object...)
	body = append(body, `,"webhook_id":"`...)
	body = append(body, webhookID...)
	return append(body, `"}`...), nil
}

// The envelope of a delivery's body.
const (
	envelopeHead = `{"payload":[`
	envelopeTail = `]}`
	envelopeSize = len(envelopeHead) + len(envelopeTail)
)

// parcel is what one delivery carries: some events in their order.
type parcel struct {
	items []*item
	size  int // of the body, in bytes
}

// fits tells whether the body stays within max with one more event. One that is larger than that goes alone.
func (p *parcel) fits(it *item, max int) bool {
	return len(p.items) == 0 || p.size+1+len(it.body) <= max
}

// leastEntry is less than any entry of a payload takes, in bytes: its members without their values, and two uuids.
const leastEntry = len(`{"id":"","created_at":"","type":"","object":0,"webhook_id":""}`) + 2*36

// full tells whether no event fits any more, whatever comes: there is nothing to wait for.
func (p *parcel) full(max int) bool { return len(p.items) > 0 && p.size+1+leastEntry > max }

func (p *parcel) add(it *item) {
	if len(p.items) == 0 {
		p.size = envelopeSize + len(it.body)
	} else {
		p.size += 1 + len(it.body)
	}
	p.items = append(p.items, it)
}

func (p *parcel) first() *item { return p.items[0] }
func (p *parcel) last() *item  { return p.items[len(p.items)-1] }

// body is {"payload": [ … ]}.
func (p *parcel) body() []byte {
	body := make([]byte, 0, p.size)
	body = append(body, envelopeHead...)
	for i, it := range p.items {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, it.body...)
	}
	return append(body, envelopeTail...)
}

// id is the webhook-id of the delivery: the same for the same events. Receivers tell by it what came again.
func (p *parcel) id(webhookID string) string {
	parts := make([]string, 0, 1+len(p.items))
	parts = append(parts, webhookID)
	for _, it := range p.items {
		parts = append(parts, it.ID)
	}
	return domain.DeriveID("webhook_package", parts...)
}

// resources are those that the events are about, each once.
func (p *parcel) resources() []string {
	var out []string
	seen := map[string]bool{}
	for _, it := range p.items {
		if !seen[it.resource] {
			seen[it.resource] = true
			out = append(out, it.resource)
		}
	}
	return out
}

// forget drops the bodies, which are not needed once the delivery is on its way.
func (p *parcel) forget() {
	for _, it := range p.items {
		it.body = nil
	}
}

// sequences says which events these are, for the log.
func (p *parcel) sequences() string {
	first, last := strconv.FormatUint(p.first().seq, 10), strconv.FormatUint(p.last().seq, 10)
	if first == last {
		return first
	}
	return first + "-" + last
}
