package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/retry"
	"closure/eventstore/verify"
)

// ErrInUse: the server has streams of an engine. A backup is restored to where there are none.
var ErrInUse = errors.New("there are streams of an engine already")

const (
	// chunkWithin bounds the wait until the server has taken a chunk, and endWithin until it has made the stream.
	chunkWithin = time.Minute
	endWithin   = 10 * time.Minute
	// replicasWithin bounds the wait until all replicas of all streams are there.
	replicasWithin = 10 * time.Minute

	// codeStorageExceeded: the server, or the account, has not so much storage left. nats.go does not name it.
	codeStorageExceeded jetstream.ErrorCode = 10047
)

// RestoreConfig of a restore.
type RestoreConfig struct {
	// Replicas of each stream. Defaults to what each had.
	Replicas int
	// Timeout bounds the wait for one answer of the server. Defaults to 10s.
	Timeout time.Duration
	// Progress is told what is restored. Defaults to nobody.
	Progress func(Progress)
}

// Restore makes the streams of a backup on a server that has none of an engine, with their sequences and times, and then verifies
// the log there: the whole chain, up to the heads of the manifest. The manifest is the one that [Check] gave. made are the streams
// that there are now, also after an error. Errors: ErrInUse, before anything was made; eventstore.ErrUnavailable.
func Restore(ctx context.Context, nc *nats.Conn, folder string, m Manifest, cfg RestoreConfig) (made []string, err error) {
	c, err := newClient(nc, cfg.Timeout)
	if err != nil {
		return nil, err
	}
	if tooOld(nc.ConnectedServerVersion()) {
		return nil, fmt.Errorf("the NATS server is of version %s: a backup is restored to 2.15 or later", nc.ConnectedServerVersion())
	}
	r := &restorer{client: c, folder: folder, cfg: cfg}
	if r.cfg.Progress == nil {
		r.cfg.Progress = func(Progress) {}
	}
	files, memory, err := c.streams(ctx)
	if err != nil {
		return nil, err
	}
	if there := append(files, memory...); len(there) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrInUse, strings.Join(there, ", "))
	}
	for _, s := range m.Streams {
		begun, err := r.stream(ctx, s)
		if begun {
			made = append(made, s.Name)
		}
		if err != nil {
			return made, eventstore.Unavailable("restore "+s.Name, err)
		}
	}
	return made, r.finish(ctx, m)
}

// tooOld tells whether a server does not know the archives of NATS 2.15. A version that cannot be read is taken for a new one.
func tooOld(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major < 2 || major == 2 && minor < 15
}

// finish makes the consumers, and looks whether all is as it was.
func (r *restorer) finish(ctx context.Context, m Manifest) error {
	for _, s := range m.Streams {
		for _, one := range s.Consumers {
			if err := r.consumer(ctx, s.Name, one); err != nil {
				return eventstore.Unavailable(fmt.Sprintf("restore the consumer %s of %s", one.Name, s.Name), err)
			}
		}
	}
	for _, s := range m.Streams {
		if err := r.awaitReplicas(ctx, s.Name); err != nil {
			return err
		}
	}
	return r.verify(ctx, m)
}

// verify reads the log from the server.
func (r *restorer) verify(ctx context.Context, m Manifest) error {
	src, err := verify.OpenStream(ctx, r.nc, verify.Scope{})
	if err != nil {
		return err
	}
	report, err := verify.Run(ctx, src, verify.Config{})
	if err != nil {
		return err
	}
	log, err := logState(report)
	if err == nil && log != m.Log {
		err = fmt.Errorf("the log that was restored has the heads %s up to sequence %d, and the one in the backup %s up to sequence %d",
			log.Heads, log.Last, m.Log.Heads, m.Log.Last)
	}
	return err
}

// restorer restores from a folder.
type restorer struct {
	*client
	folder string
	cfg    RestoreConfig
}

// stream restores one stream. begun tells that there may be something of it.
func (r *restorer) stream(ctx context.Context, s Stream) (begun bool, err error) {
	settings, err := readSettings(s.Config)
	if err != nil {
		return false, err
	}
	to, err := r.begin(ctx, s, settings)
	if err != nil {
		return false, err
	}
	info, err := r.send(ctx, s, to)
	if err != nil {
		return true, err
	}
	r.cfg.Progress(Progress{Stream: s.Name, Bytes: s.Size, Messages: info.State.Messages, Done: true})
	switch now := info.State; {
	case now.Last < s.Last:
		return true, fmt.Errorf("it ends at sequence %d, and has to at %d", now.Last, s.Last)
	case settings.keeps() && (now.Messages != s.Messages || now.Last != s.Last):
		return true, fmt.Errorf("it has %d messages up to sequence %d, and has to have %d up to %d", now.Messages, now.Last, s.Messages, s.Last)
	}
	return true, nil
}

// begin asks for a stream to be restored, and gives the subject to send it to. A bound for its bytes, which the server sets aside, may
// be more than there is: then it is restored without, and the engine sets what fits.
func (r *restorer) begin(ctx context.Context, s Stream, had settings) (subject string, err error) {
	config, err := r.configOf(s, nil)
	if err != nil {
		return "", err
	}
	subject, err = r.request(ctx, s, config)
	var api *jetstream.APIError
	if had.MaxBytes > 0 && errors.As(err, &api) && api.ErrorCode == codeStorageExceeded {
		if config, err = r.configOf(s, map[string]any{"max_bytes": -1}); err != nil {
			return "", err
		}
		return r.request(ctx, s, config)
	}
	return subject, err
}

// configOf is the configuration of a stream, with what is different here.
func (r *restorer) configOf(s Stream, with map[string]any) (json.RawMessage, error) {
	config := map[string]json.RawMessage{}
	if err := json.Unmarshal(s.Config, &config); err != nil {
		return nil, err
	}
	if r.cfg.Replicas > 0 {
		if with == nil {
			with = map[string]any{}
		}
		with["num_replicas"] = r.cfg.Replicas
	}
	for name, value := range with {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		config[name] = text
	}
	return json.Marshal(config)
}

func (r *restorer) request(ctx context.Context, s Stream, config json.RawMessage) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var answer struct {
		DeliverSubject string `json:"deliver_subject"`
	}
	// Once: when the answer gets lost, the second request would find the stream there.
	err := r.once(ctx, "STREAM.RESTORE."+s.Name, map[string]any{
		"config": config, "state": state{Messages: s.Messages, Bytes: s.Bytes, First: s.First, Last: s.Last},
	}, &answer)
	if err == nil && answer.DeliverSubject == "" {
		err = errors.New("the server does not say where to send it")
	}
	return answer.DeliverSubject, err
}

// send sends the file of a stream, a chunk at a time, and gives what the server has made of it.
func (r *restorer) send(ctx context.Context, s Stream, subject string) (info streamInfo, err error) {
	file, err := os.Open(filepath.Join(r.folder, s.File))
	if err != nil {
		return info, err
	}
	defer func() { _ = file.Close() }() // it was only read
	chunk := make([]byte, min(int64(chunkSize), r.nc.MaxPayload()))
	for sent := int64(0); ; {
		n, err := io.ReadFull(file, chunk)
		if n > 0 {
			if err := r.chunk(ctx, subject, chunk[:n]); err != nil {
				return info, err
			}
			sent += int64(n)
			r.cfg.Progress(Progress{Stream: s.Name, Bytes: sent})
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return info, err
		}
	}
	answer, err := r.deliver(ctx, subject, nil, endWithin)
	if err != nil {
		return info, err
	}
	return info, readAnswer(answer.Data, &info)
}

// deliver sends a chunk, and waits for the answer. For a moment after a server of a cluster has said where it takes chunks, the others may
// not know: then nobody got this one, and it is sent again.
func (r *restorer) deliver(ctx context.Context, subject string, chunk []byte, within time.Duration) (answer *nats.Msg, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	patience, end := context.WithTimeout(ctx, r.timeout)
	defer end()
	for wait := retry.NewBackoff(5*time.Millisecond, 250*time.Millisecond); ; {
		answer, err = r.nc.RequestWithContext(ctx, subject, chunk)
		if !errors.Is(err, nats.ErrNoResponders) || wait.Wait(patience) != nil {
			return answer, err
		}
	}
}

func (r *restorer) chunk(ctx context.Context, subject string, chunk []byte) error {
	answer, err := r.deliver(ctx, subject, chunk, chunkWithin)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(answer.Data)) == 0 {
		return nil
	}
	return readAnswer(answer.Data, nil)
}

// consumer makes a consumer as it was, and puts it to where it goes on. Its configuration is the one that its owner gives, who may
// give it again.
func (r *restorer) consumer(ctx context.Context, stream string, c Consumer) error {
	config := map[string]json.RawMessage{}
	if err := json.Unmarshal(c.Config, &config); err != nil {
		return err
	}
	delete(config, "num_replicas") // those of its stream
	var begins struct {
		Policy string `json:"deliver_policy"`
		From   uint64 `json:"opt_start_seq"`
	}
	if err := json.Unmarshal(c.Config, &begins); err != nil {
		return err
	}
	movable := begins.Policy == "" || begins.Policy == "all" || begins.Policy == "by_start_sequence"
	if !movable {
		// The server moves no other kind, and "new" would begin behind all that is restored.
		delete(config, "opt_start_time")
		config["deliver_policy"] = json.RawMessage(`"by_start_sequence"`)
		config["opt_start_seq"] = fmt.Appendf(nil, "%d", c.Next)
	}
	err := r.ask(ctx, "CONSUMER.CREATE."+stream+"."+c.Name, map[string]any{"stream_name": stream, "config": config, "action": ""}, nil)
	if err != nil || !movable || c.Next <= max(begins.From, 1) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	_, err = retry.Insist(ctx, func(ctx context.Context) (*jetstream.ConsumerResetResponse, error) {
		return r.js.ResetConsumerToSequence(ctx, stream, c.Name, c.Next)
	})
	return err
}

// awaitReplicas returns when all replicas of a stream have what its leader has.
func (r *restorer) awaitReplicas(ctx context.Context, stream string) error {
	ctx, cancel := context.WithTimeout(ctx, replicasWithin)
	defer cancel()
	for wait := retry.NewBackoff(20*time.Millisecond, time.Second); ; {
		info, err := r.info(ctx, stream)
		if err != nil {
			return eventstore.Unavailable("the stream "+stream, err)
		}
		if info.replicated() {
			return nil
		}
		if wait.Wait(ctx) != nil {
			return fmt.Errorf("%w: not all replicas of %s are there", eventstore.ErrUnavailable, stream)
		}
	}
}

func (i streamInfo) replicated() bool {
	if i.Cluster == nil { // a server on its own
		return true
	}
	for _, replica := range i.Cluster.Replicas {
		if !replica.Current || replica.Offline {
			return false
		}
	}
	return i.Cluster.Leader != ""
}
