package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"closure/domain"
	"closure/eventstore"
)

const (
	// closingsAtOnce is how many accounts are closed at a time.
	closingsAtOnce = 16
	// answerWithin bounds the wait for one answer of the whole engine, and for an event of it.
	answerWithin = time.Minute
)

// diskPerClosing closes accounts by a whole engine, as `closure serve` runs it, and looks at its folder before and afterwards,
// each time when it has stopped.
func diskPerClosing(ctx context.Context, b *bench) (sides, error) {
	if b.given() {
		return sides{}, notHere("the files of a given server are not here")
	}
	if b.cfg.StartEngine == nil {
		return sides{}, notHere("it needs the whole engine: closure bench")
	}
	var parts map[string]int64
	n := b.cfg.Sizes.Closings
	return sides{
		engine: func(ctx context.Context) (float64, error) {
			folder := filepath.Join(b.dir, "engine")
			before, err := b.leaves(ctx, folder, func(Engine) error { return nil })
			if err != nil {
				return 0, err
			}
			after, err := b.leaves(ctx, folder, func(e Engine) error { return b.closeAccounts(ctx, e, n) })
			if err != nil {
				return 0, err
			}
			parts = map[string]int64{}
			total := int64(0)
			for part, size := range after {
				parts[part] = (size - before[part]) / int64(n)
				total += size - before[part]
			}
			return float64(total) / float64(n), nil
		},
		note: func() string {
			return fmt.Sprintf("a group, an account, a position in and out, closed, %s times: %s", thousands(n), largest(parts))
		},
	}, nil
}

// leaves runs an engine on a folder, and gives the sizes of what it leaves there, by part.
func (b *bench) leaves(ctx context.Context, folder string, use func(Engine) error) (map[string]int64, error) {
	engine, err := b.cfg.StartEngine(ctx, folder)
	if err != nil {
		return nil, err
	}
	err = use(engine)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	if err := errors.Join(err, engine.Stop(stopping)); err != nil {
		return nil, err
	}
	return sizes(folder)
}

// sizes of the files in an engine's folder: each stream, and the files beside them.
func sizes(folder string) (map[string]int64, error) {
	out := map[string]int64{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[part(folder, path)] += info.Size()
		return nil
	})
	return out, err
}

// part is the name of the stream that a file belongs to, else the name of the file without what is behind its first dot or dash:
// readmodel.db and readmodel.db-wal are one.
func part(folder, path string) string {
	rest, err := filepath.Rel(folder, path)
	if err != nil {
		return path
	}
	elements := strings.Split(filepath.ToSlash(rest), "/")
	if at := slices.Index(elements, "streams"); at >= 0 && at+1 < len(elements) {
		return elements[at+1]
	}
	last := elements[len(elements)-1]
	if end := strings.IndexAny(last, ".-"); end > 0 {
		last = last[:end]
	}
	return last
}

// largest lists the parts that count, the largest first.
func largest(parts map[string]int64) string {
	var out []string
	for _, name := range slices.SortedFunc(maps.Keys(parts), func(a, b string) int { return int(parts[b] - parts[a]) }) {
		if parts[name] > 0 {
			out = append(out, fmt.Sprintf("%s %s", name, thousands(int(parts[name]))))
		}
	}
	return strings.Join(out, ", ")
}

// closeAccounts opens and closes accounts, and waits until the world was told of all of them.
func (b *bench) closeAccounts(ctx context.Context, e Engine, n int) error {
	conn, err := b.connect(e.URL, e.Options...)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := &closer{conn: conn, ids: b.ids, client: b.ids.next()}
	events, err := conn.SubscribeSync(eventstore.EventFilter(c.client, "account"))
	if err != nil {
		return err
	}
	if err := conn.FlushTimeout(answerWithin); err != nil {
		return err
	}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(closingsAtOnce)
	for range n {
		group.Go(func() error { return c.closeOne(working) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return awaitClosed(ctx, events, n)
}

// awaitClosed counts the events that say that an account is closed.
func awaitClosed(ctx context.Context, events *nats.Subscription, n int) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	closed := "." + strings.ToLower(domain.PublishedAccountClosed) + "."
	for n > 0 {
		msg, err := events.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("wait for the events of %d closed accounts: %w", n, err)
		}
		if strings.Contains(msg.Subject, closed) {
			n--
		}
	}
	return nil
}

// closer is a client of a whole engine.
type closer struct {
	conn   *nats.Conn
	ids    *idSource
	client string
}

// closeOne is the life of one account.
func (c *closer) closeOne(ctx context.Context) error {
	group, account := c.ids.next(), c.ids.next()
	held, sold := holding(1), holding(1)
	sold.Quantity, sold.Revision = "0", 2
	for _, step := range []struct {
		target  domain.Ref
		payload domain.Payload
	}{
		{domain.Ref{Kind: domain.KindAccountGroup, ID: group}, &domain.OpenAccountGroup{
			Users: []domain.Party{{ID: c.ids.next(), Type: domain.Owner}}, Type: "PERSONAL", Domicile: "DE"}},
		{domain.Ref{Kind: domain.KindAccount, ID: account}, &domain.OpenAccount{AccountGroupID: group, Type: domain.Trading, Name: "Savings"}},
		{domain.Ref{Kind: domain.KindAccount, ID: account}, &held},
		{domain.Ref{Kind: domain.KindAccount, ID: account}, &domain.RequestAccountClosure{}},
		{domain.Ref{Kind: domain.KindAccount, ID: account}, &sold},
	} {
		if err := c.ask(ctx, step.target, step.payload); err != nil {
			return fmt.Errorf("%s %s: %w", step.target.Kind, step.payload.CommandName(), err)
		}
	}
	return nil
}

// ask sends a command, which has to be accepted.
func (c *closer) ask(ctx context.Context, target domain.Ref, p domain.Payload) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	fields, err := json.Marshal(p)
	if err != nil {
		return err
	}
	body := map[string]any{}
	if err := json.Unmarshal(fields, &body); err != nil {
		return err
	}
	body["client_id"], body["command_id"], body["actor"] = c.client, c.ids.next(), actor
	// What there is none of is left out on the wire.
	maps.DeleteFunc(body, func(_ string, v any) bool { return v == nil || v == "" })
	request, err := json.Marshal(body)
	if err != nil {
		return err
	}
	reply, err := c.conn.RequestWithContext(ctx, eventstore.RPCSubject(string(target.Kind), target.ID, p.CommandName()), request)
	if err != nil {
		return err
	}
	var answer struct {
		Result string          `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	if answer.Result != "accepted" {
		return fmt.Errorf("%s: %s", answer.Result, answer.Error)
	}
	return nil
}
