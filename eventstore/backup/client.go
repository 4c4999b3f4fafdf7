package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
)

const (
	defaultTimeout = 10 * time.Second
	// apiPrefix of the requests to JetStream.
	apiPrefix = "$JS.API."
)

// client speaks the API of JetStream as it is on the wire, so that settings that the library does not know are kept.
type client struct {
	nc *nats.Conn
	js jetstream.JetStream
	// timeout bounds the wait for one answer.
	timeout time.Duration
}

func newClient(nc *nats.Conn, timeout time.Duration) (*client, error) {
	js, err := jetstream.New(nc)
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &client{nc: nc, js: js, timeout: timeout}, err
}

// ask makes a request that may be made twice, and insists for as long as the timeout allows.
func (c *client) ask(ctx context.Context, subject string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err := retry.Insist(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.once(ctx, subject, in, out) })
	return err
}

// once makes a request, and reads the answer into out; an error that is answered is a *jetstream.APIError.
func (c *client) once(ctx context.Context, subject string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	answer, err := c.nc.RequestWithContext(ctx, apiPrefix+subject, body)
	if err != nil {
		return err
	}
	return readAnswer(answer.Data, out)
}

func readAnswer(body []byte, out any) error {
	var failed struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(body, &failed); err != nil {
		return fmt.Errorf("the answer of the server: %w", err)
	}
	if failed.Error != nil {
		return failed.Error
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}

// streamInfo is what the stream's leader says of it.
type streamInfo struct {
	Config  json.RawMessage `json:"config"`
	State   state           `json:"state"`
	Cluster *struct {
		Leader   string `json:"leader"`
		Replicas []struct {
			Current bool `json:"current"`
			Offline bool `json:"offline"`
		} `json:"replicas"`
	} `json:"cluster"`
}

func (c *client) info(ctx context.Context, stream string) (info streamInfo, err error) {
	return info, c.ask(ctx, "STREAM.INFO."+stream, nil, &info)
}

// streams lists the streams of the engine, by their names; those that are in memory apart.
func (c *client) streams(ctx context.Context) (files, memory []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	type found struct{ files, memory []string }
	all, err := retry.Insist(ctx, func(ctx context.Context) (f found, err error) {
		list := c.js.ListStreams(ctx)
		for info := range list.Info() {
			switch {
			case !ours(info.Config.Name):
			case info.Config.Storage == jetstream.MemoryStorage:
				f.memory = append(f.memory, info.Config.Name)
			default:
				f.files = append(f.files, info.Config.Name)
			}
		}
		return f, list.Err()
	})
	if err != nil {
		return nil, nil, eventstore.Unavailable("list the streams", err)
	}
	slices.Sort(all.files)
	slices.Sort(all.memory)
	return all.files, all.memory, nil
}

// ours tells whether a stream has a name that an engine gives: CLOSURE_…, or KV_CLOSURE_… and OBJ_CLOSURE_… of a bucket.
func ours(name string) bool {
	for _, bucket := range []string{"KV_", "OBJ_"} {
		name = strings.TrimPrefix(name, bucket)
	}
	return strings.HasPrefix(name, "CLOSURE_") && !strings.ContainsAny(name, `/\. `)
}

// consumers of a stream that are durable, and where each goes on.
func (c *client) consumers(ctx context.Context, stream string) ([]Consumer, error) {
	var all []Consumer
	for seen := 0; ; {
		var page struct {
			Total     int `json:"total"`
			Consumers []struct {
				Name   string          `json:"name"`
				Config json.RawMessage `json:"config"`
				Floor  struct {
					Stream uint64 `json:"stream_seq"`
				} `json:"ack_floor"`
			} `json:"consumers"`
		}
		if err := c.ask(ctx, "CONSUMER.LIST."+stream, map[string]int{"offset": seen}, &page); err != nil {
			return nil, eventstore.Unavailable("list the consumers of "+stream, err)
		}
		for _, one := range page.Consumers {
			var cfg struct {
				Durable string `json:"durable_name"`
			}
			if err := json.Unmarshal(one.Config, &cfg); err != nil {
				return nil, fmt.Errorf("consumer %s of %s: %w", one.Name, stream, err)
			}
			if cfg.Durable != "" {
				all = append(all, Consumer{Name: one.Name, Next: one.Floor.Stream + 1, Config: one.Config})
			}
		}
		if seen += len(page.Consumers); seen >= page.Total || len(page.Consumers) == 0 {
			slices.SortFunc(all, func(a, b Consumer) int { return strings.Compare(a.Name, b.Name) })
			return all, nil
		}
	}
}

// message fetches the message with a sequence from the stream's leader; ok tells that there is one.
func (c *client) message(ctx context.Context, stream string, sequence uint64) (m message, ok bool, err error) {
	var answer struct {
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Body     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	err = c.ask(ctx, "STREAM.MSG.GET."+stream, map[string]uint64{"seq": sequence}, &answer)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return m, false, nil
	}
	a := answer.Message
	return message{subject: a.Subject, sequence: a.Sequence, time: a.Time.UnixNano(), header: a.Header, body: a.Body}, err == nil, err
}
