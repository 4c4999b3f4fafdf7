package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
)

// connection is the flag of every command that talks to a running engine over NATS.
type connection struct {
	NATSURL string `name:"nats-url" default:"nats://127.0.0.1:4222" help:"The NATS servers: nats://host:port, several with commas."`
	Data    string `default:"./closure-data" placeholder:"FOLDER" help:"The data folder of an engine on this machine: the command takes the engine's credentials from there, when no others are given."`
	natsAuth
	Timeout time.Duration `default:"10s" help:"How long to wait for the answer."`
}

func (c connection) connect() (*nats.Conn, error) {
	if problems := append(c.problems(), checkServers(c.NATSURL)); errors.Join(problems...) != nil {
		return nil, usageError{errors.Join(problems...)}
	}
	options, err := c.orEngine(c.Data).options()
	if err != nil {
		return nil, usageError{err}
	}
	conn, err := nats.Connect(c.NATSURL, append(options, nats.Name("closure command line"), nats.Timeout(c.Timeout))...)
	if errors.Is(err, nats.ErrAuthorization) {
		return nil, fmt.Errorf("connect to NATS at %s: it does not know this user (give --data of the engine, --nats-nkey or --nats-creds): %w", redacted(c.NATSURL), err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", redacted(c.NATSURL), err)
	}
	return conn, nil
}

// sendCommand sends one command or fact.
type sendCommand struct {
	connection
	Aggregate string `arg:"" help:"account or account_group."`
	ID        string `arg:"" help:"The resource's id (uuid)."`
	Command   string `arg:"" help:"The command, such as open, record_position, request_closure."`
	Fields    string `arg:"" optional:"" help:"The command's fields as a JSON object; - reads it from standard input."`
	ClientID  string `name:"client-id" help:"The client (uuid), unless client_id is among the fields."`
	CommandID string `name:"command-id" help:"The command's id (uuid). Defaults to a new one; the same id again does nothing again."`
	Actor     string `default:"command line" help:"Who asks."`
	Durable   bool   `help:"Leave it in the durable inbox instead of waiting for the answer: it is safe, and executed as soon as an engine runs."`
	JSON      bool   `name:"json" help:"Print the answer as one JSON line."`
}

func (c sendCommand) Run(ctx context.Context, std streams) error {
	body, err := c.body(std.in)
	if err != nil {
		return usageError{err}
	}
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if c.Durable {
		return c.leave(ctx, conn, body, std.out)
	}
	return c.ask(ctx, conn, body, std.out)
}

// body is the command as it goes over the wire: the fields, and what every command carries beside them.
func (c sendCommand) body(stdin io.Reader) ([]byte, error) {
	fields := []byte(c.Fields)
	if c.Fields == "-" {
		var err error
		if fields, err = io.ReadAll(stdin); err != nil {
			return nil, err
		}
	}
	members := map[string]json.RawMessage{}
	if len(fields) > 0 {
		if err := json.Unmarshal(fields, &members); err != nil || members == nil {
			return nil, fmt.Errorf("the fields must be a JSON object such as {\"name\": \"Savings\"}: %v", err)
		}
	}
	defaults := map[string]string{"client_id": c.ClientID, "command_id": c.CommandID, "actor": c.Actor}
	if c.CommandID == "" {
		defaults["command_id"] = uuid.NewString()
	}
	for name, value := range defaults {
		if _, given := members[name]; given || value == "" {
			continue
		}
		quoted, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		members[name] = quoted
	}
	return json.Marshal(members)
}

// answer is what the micro service says (CONTRACT: NATS).
type answer struct {
	Result   string `json:"result"`
	Sequence uint64 `json:"sequence"`
	Error    *struct {
		Detail   string `json:"detail"`
		Title    string `json:"title"`
		Blockers []struct {
			Code   string `json:"code"`
			Detail string `json:"detail"`
		} `json:"blockers"`
	} `json:"error"`
}

// ask waits for the answer of an engine.
func (c sendCommand) ask(ctx context.Context, conn *nats.Conn, body []byte, out io.Writer) error {
	reply, err := conn.RequestWithContext(ctx, eventstore.RPCSubject(c.Aggregate, c.ID, c.Command), body)
	if errors.Is(err, nats.ErrNoResponders) {
		return errors.New("no engine is running at this NATS server: start one with 'closure serve', or use --durable")
	}
	if err != nil {
		return fmt.Errorf("no answer (the outcome is unknown; the same --command-id again is safe): %w", err)
	}
	var a answer
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	if c.JSON {
		_, err = fmt.Fprintf(out, "%s\n", reply.Data)
	} else if a.Error == nil {
		_, err = fmt.Fprintf(out, "%s: %s %s %s, sequence %d\n", a.Result, c.Aggregate, c.ID, c.Command, a.Sequence)
	}
	if err == nil && a.Error != nil {
		return fmt.Errorf("rejected: %s", a.Error.Detail)
	}
	return err
}

// leave puts the command into the durable inbox; the acknowledgement means that it is safe, not that it is accepted.
func (c sendCommand) leave(ctx context.Context, conn *nats.Conn, body []byte, out io.Writer) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ack, err := js.Publish(ctx, eventstore.CommandSubject(c.Aggregate, c.ID, c.Command), body, jetstream.WithExpectStream(eventstore.StreamCommands))
	if err != nil {
		return fmt.Errorf("the command was not stored: %w", err)
	}
	if c.JSON {
		return printJSON(out, map[string]any{"result": "stored", "stream": ack.Stream, "sequence": ack.Sequence})
	}
	_, err = fmt.Fprintf(out, "stored: %s %s %s, sequence %d of %s\n", c.Aggregate, c.ID, c.Command, ack.Sequence, ack.Stream)
	return err
}
