package eventstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

func TestAppendChainsCommits(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ctx := testContext(t)
	c := commitOf("account", "a")
	c.Events[0].Data = json.RawMessage("{ \"name\" : \"<Ä & B>\" }")
	c.Version, c.PrevHash = 99, "whatever the caller left there"
	first, err := l.Append(ctx, c, eventstore.Head{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Append(ctx, commitOf("account", "a"), first.Head())
	if err != nil {
		t.Fatal(err)
	}
	if first.Version != 1 || first.PrevHash != "" || first.Sequence != 1 {
		t.Fatalf("first: %+v", first)
	}
	if second.Version != 2 || second.PrevHash != first.Hash || second.Sequence != 2 {
		t.Fatalf("second: %+v", second)
	}
	loaded, err := l.Load(ctx, "account", "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, loaded, []eventstore.Recorded{first, second})
}

// mustEqual: what Append returns is what Load finds, to the last byte.
func mustEqual(t testing.TB, got, want []eventstore.Recorded) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d commits, want %d", len(got), len(want))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("commit %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

// The message can be read with plain NATS tools as the contract says.
func TestAppendWritesTheContract(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ctx := testContext(t)
	rec, err := l.Append(ctx, commitOf("account_group", "g"), eventstore.Head{})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := l.JetStream().Stream(ctx, "CLOSURE_LOG")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, "closure.log.account_group.g")
	if err != nil {
		t.Fatal(err)
	}
	if got := msg.Header.Get("Closure-Hash"); got != rec.Hash || got != eventstore.HashOf(msg.Data) {
		t.Fatalf("Closure-Hash is %q, want %q", got, rec.Hash)
	}
	if got := msg.Header.Get("Nats-Msg-Id"); got != rec.ID {
		t.Fatalf("Nats-Msg-Id is %q, want %q", got, rec.ID)
	}
	body, err := rec.Encode()
	if err != nil || !bytes.Equal(body, msg.Data) {
		t.Fatalf("stored %s, encoded %s, %v", msg.Data, body, err)
	}
}

func TestAppendGuard(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	w := newWriter(t, l)
	first := w.append("account", "a")
	w.append("account", "b")
	second := w.append("account", "a")
	for name, head := range map[string]eventstore.Head{
		"none":   {},
		"old":    first.Head(),
		"others": {Sequence: 2, Version: 1, Hash: first.Hash},
		"future": {Sequence: 99, Version: 1, Hash: first.Hash},
	} {
		c := commitOf("account", "a")
		ctx, cancel := context.WithTimeout(testContext(t), time.Second)
		_, err := l.Append(ctx, c, head)
		cancel()
		// A head that the log never had is neither a conflict nor a success.
		if want := eventstore.ErrConflict; name != "future" && !errors.Is(err, want) {
			t.Errorf("head %s: %v, want %v", name, err, want)
		}
		if err == nil {
			t.Errorf("head %s: appended", name)
		}
	}
	if last, err := l.LastSequence(testContext(t)); err != nil || last != second.Sequence {
		t.Fatalf("the log ends at %d, %v; want %d", last, err, second.Sequence)
	}
}

// Of many appends on the same head one wins, and the others are conflicts.
func TestAppendRace(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	race(t, []*eventstore.Log{l}, "a", 50)
}

// race appends n different commits on the same head, and checks that one wins.
func race(t testing.TB, logs []*eventstore.Log, id string, n int) {
	t.Helper()
	var mu sync.Mutex
	var won []eventstore.Recorded
	var wg sync.WaitGroup
	ctx := testContext(t)
	for i := range n {
		wg.Go(func() {
			rec, err := logs[i%len(logs)].Append(ctx, commitOf("account", id), eventstore.Head{})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, rec)
			} else if !errors.Is(err, eventstore.ErrConflict) {
				t.Errorf("append: %v, want a conflict", err)
			}
		})
	}
	wg.Wait()
	stored, err := logs[0].LoadFromLeader(ctx, "account", id, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(won) != 1 || len(stored) != 1 || won[0].ID != stored[0].ID {
		t.Fatalf("%d appends succeeded, %d commits are stored; want the same one", len(won), len(stored))
	}
}

func TestAppendAgainIsASuccess(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ctx := testContext(t)
	c := commitOf("account", "a")
	first, err := l.Append(ctx, c, eventstore.Head{})
	if err != nil {
		t.Fatal(err)
	}
	again := func(name string, head eventstore.Head) {
		t.Helper()
		changed := c
		changed.Time = c.Time.Add(time.Hour) // decided again; the id is what counts
		rec, err := l.Append(ctx, changed, head)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		mustEqual(t, []eventstore.Recorded{rec}, []eventstore.Recorded{first})
	}
	again("at once", eventstore.Head{})
	second, err := l.Append(ctx, commitOf("account", "a"), first.Head())
	if err != nil {
		t.Fatal(err)
	}
	again("after another commit", eventstore.Head{})
	again("on a head behind it", second.Head())
	// A third one, which was decided again on a head that is older than the one
	// that it was appended to.
	third := commitOf("account", "a")
	stored, err := l.Append(ctx, third, second.Head())
	if err != nil {
		t.Fatal(err)
	}
	for _, head := range []eventstore.Head{{}, first.Head(), second.Head()} {
		rec, err := l.Append(ctx, third, head)
		if err != nil {
			t.Fatalf("on the head at %d: %v", head.Sequence, err)
		}
		mustEqual(t, []eventstore.Recorded{rec}, []eventstore.Recorded{stored})
	}
	if last, err := l.LastSequence(ctx); err != nil || last != 3 {
		t.Fatalf("the log ends at %d, %v; want 3", last, err)
	}
	// The same id on another aggregate is no repetition.
	other := c
	other.AggregateID = "b"
	_, err = l.Append(ctx, other, eventstore.Head{})
	mustBe(t, err, eventstore.ErrCommitIDTaken)
}

func TestAppendRefusesWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), NoSync: true, MaxPayload: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	l := openLogOn(t, embeddedtest.Connect(t, s), eventstore.Config{})
	big := commitOf("account", "a")
	big.Events[0].Data = json.RawMessage(`{"x":"` + strings.Repeat("x", 64<<10) + `"}`)
	_, err = l.Append(testContext(t), big, eventstore.Head{})
	mustBe(t, err, eventstore.ErrTooLarge)
	if !strings.Contains(err.Error(), "65536") {
		t.Errorf("%q does not name the limit", err)
	}
	for _, id := range []string{"", "a.b", "*", ">", "a b"} {
		_, err := l.Append(testContext(t), commitOf("account", id), eventstore.Head{})
		mustBe(t, err, eventstore.ErrMalformedCommit)
		if _, err := l.Load(testContext(t), "account", id, 0); err == nil {
			t.Errorf("load of the id %q: no error", id)
		}
	}
}

// A head that is behind by very many commits is a conflict like any other.
func TestAppendFarBehind(t *testing.T) {
	t.Parallel()
	l := openLogOn(t, embeddedtest.Connect(t, embeddedtest.Server(t)), eventstore.Config{AppendTimeout: patience})
	w := newWriter(t, l)
	w.spread(1300, 1)
	_, err := l.Append(testContext(t), commitOf("account", "a0"), w.all[0].Head())
	mustBe(t, err, eventstore.ErrConflict)
	again := w.all[1250].Commit
	rec, err := l.Append(testContext(t), again, w.all[0].Head())
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, []eventstore.Recorded{rec}, w.all[1250:1251])
}

// More replicas than there are servers: at once, and not after a long wait.
func TestOpenWithTooManyReplicas(t *testing.T) {
	t.Parallel()
	nc := embeddedtest.Connect(t, embeddedtest.Server(t))
	begin := time.Now()
	_, err := eventstore.Open(testContext(t), nc, eventstore.Config{Replicas: 3})
	if err == nil || errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("%v, want an error that is not ErrUnavailable", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Fatalf("it took %s", took)
	}
}

func TestAppendOnAClosedConnection(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	l.Conn().Close()
	_, err := l.Append(testContext(t), commitOf("account", "a"), eventstore.Head{})
	mustBe(t, err, eventstore.ErrUnavailable)
	_, err = l.Load(testContext(t), "account", "a", 0)
	mustBe(t, err, eventstore.ErrUnavailable)
	_, err = l.Read(testContext(t), 1, 1)
	mustBe(t, err, eventstore.ErrUnavailable)
	_, err = l.LastSequence(testContext(t))
	mustBe(t, err, eventstore.ErrUnavailable)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ctx := testContext(t)
	w := newWriter(t, l)
	// One aggregate larger than any batch, with others in between.
	var mine []eventstore.Recorded
	for i := range 1500 {
		if i%10 == 0 {
			w.append("account", fmt.Sprintf("other%d", i))
		}
		mine = append(mine, w.append("account", "big"))
	}
	all, err := l.Load(ctx, "account", "big", 0)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, all, mine)
	after, err := l.Load(ctx, "account", "big", mine[699].Sequence)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, after, mine[700:])
	leader, err := l.LoadFromLeader(ctx, "account", "big", mine[1399].Sequence)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, leader, mine[1400:])
	for name, load := range map[string]func(context.Context, string, string, uint64) ([]eventstore.Recorded, error){
		"Load": l.Load, "LoadFromLeader": l.LoadFromLeader,
	} {
		for _, at := range []struct {
			id    string
			after uint64
		}{{"none", 0}, {"big", mine[1499].Sequence}, {"big", 1 << 40}} {
			if got, err := load(ctx, "account", at.id, at.after); err != nil || len(got) != 0 {
				t.Errorf("%s of %s after %d: %d commits, %v; want none", name, at.id, at.after, len(got), err)
			}
		}
	}
}

// Large commits come in several answers, each below what a connection buffers.
func TestLoadLargeCommits(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ctx := testContext(t)
	head := eventstore.Head{}
	for range 25 {
		c := commitOf("account", "a")
		c.Events[0].Data = json.RawMessage(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`)
		rec, err := l.Append(ctx, c, head)
		if err != nil {
			t.Fatal(err)
		}
		head = rec.Head()
	}
	all, err := l.Load(ctx, "account", "a", 0)
	if err != nil || len(all) != 25 {
		t.Fatalf("%d commits, %v; want 25", len(all), err)
	}
	var read []eventstore.Recorded
	for len(read) < 25 {
		part, err := l.Read(ctx, uint64(len(read)+1), 1000)
		if err != nil || len(part) == 0 {
			t.Fatalf("%d commits, %v", len(part), err)
		}
		read = append(read, part...)
	}
	mustEqual(t, read, all)
}

func TestRead(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ctx := testContext(t)
	if got, err := l.Read(ctx, 0, 10); err != nil || len(got) != 0 {
		t.Fatalf("an empty log: %d commits, %v", len(got), err)
	}
	w := newWriter(t, l)
	w.spread(700, 30)
	for _, c := range []struct {
		from     uint64
		max      int
		want, to uint64
	}{{0, 10, 1, 10}, {1, 1, 1, 1}, {1, 1000, 1, 700}, {350, 20, 350, 369}, {700, 5, 700, 700}} {
		got, err := l.Read(ctx, c.from, c.max)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, got, w.all[c.want-1:c.to])
	}
	if got, err := l.Read(ctx, 701, 10); err != nil || len(got) != 0 {
		t.Fatalf("behind the end: %d commits, %v", len(got), err)
	}
	if _, err := l.Read(ctx, 1, 0); err == nil {
		t.Fatal("a read of no commits is no error")
	}
}

func TestNothingLeavesTheLog(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ctx := testContext(t)
	w := newWriter(t, l)
	w.spread(3, 1)
	stream, err := l.JetStream().Stream(ctx, eventstore.StreamLog)
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"delete":        func() error { return stream.DeleteMsg(ctx, 2) },
		"secure delete": func() error { return stream.SecureDeleteMsg(ctx, 2) },
		"purge":         func() error { return stream.Purge(ctx) },
		"rollup": func() error {
			msg := nats.NewMsg("closure.log.account.a0")
			msg.Header.Set("Nats-Rollup", "all")
			_, err := l.JetStream().PublishMsg(ctx, msg)
			return err
		},
		"expiry": func() error {
			_, err := l.JetStream().Publish(ctx, "closure.log.account.a0", nil, jetstream.WithMsgTTL(time.Second))
			return err
		},
	} {
		if err := do(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	got, err := l.Read(ctx, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, got, w.all)
}

func TestOpenChecksTheStream(t *testing.T) {
	t.Parallel()
	good := jetstream.StreamConfig{
		Name: eventstore.StreamLog, Subjects: []string{"closure.log.>"}, Storage: jetstream.FileStorage,
		DenyDelete: true, DenyPurge: true, AllowDirect: true, AllowAtomicPublish: true,
	}
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		cfg    eventstore.Config
	}{
		"":                     {change: func(*jetstream.StreamConfig) {}},
		"storage":              {change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }},
		"retention":            {change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }},
		"deny_delete":          {change: func(c *jetstream.StreamConfig) { c.DenyDelete = false }},
		"deny_purge":           {change: func(c *jetstream.StreamConfig) { c.DenyPurge = false }},
		"allow_rollup_hdrs":    {change: func(c *jetstream.StreamConfig) { c.DenyPurge = false; c.AllowRollup = true }},
		"max_age":              {change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		"max_msgs":             {change: func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 }},
		"max_bytes":            {change: func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }},
		"max_msgs_per_subject": {change: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 10 }},
		"allow_msg_ttl":        {change: func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }},
		"persist_mode": {change: func(c *jetstream.StreamConfig) {
			c.PersistMode, c.AllowAtomicPublish = jetstream.AsyncPersistMode, false
		}},
		"num_replicas": {change: func(*jetstream.StreamConfig) {}, cfg: eventstore.Config{Replicas: 3}},
		"subjects":     {change: func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "other.>") }},
		"subject_transform": {change: func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "closure.log.*.*", Destination: "closure.log.{{wildcard(2)}}.{{wildcard(1)}}"}
		}},
		"allow_msg_counter": {change: func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true }},
		"sources":           {change: func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}} }},
		"no_ack":            {change: func(c *jetstream.StreamConfig) { c.NoAck, c.AllowAtomicPublish = true, false }},
		"allow_direct":      {change: func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
		"allow_atomic":      {change: func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }},
		"first_seq":         {change: func(c *jetstream.StreamConfig) { c.FirstSeq = 100 }},
	} {
		t.Run("wrong="+name, func(t *testing.T) {
			t.Parallel()
			checkOpen(t, good, name, c.change, c.cfg)
		})
	}
}

func checkOpen(t *testing.T, cfg jetstream.StreamConfig, name string, change func(*jetstream.StreamConfig), open eventstore.Config) {
	nc := embeddedtest.Connect(t, embeddedtest.Server(t))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	change(&cfg)
	if _, err := js.CreateStream(testContext(t), cfg); err != nil {
		t.Fatalf("create the stream: %v", err)
	}
	_, err = eventstore.Open(testContext(t), nc, open)
	if name == "" {
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		return
	}
	mustBe(t, err, eventstore.ErrWrongStream)
	if !strings.Contains(err.Error(), name) {
		t.Fatalf("%q does not name %s", err, name)
	}
}

// A log that has lost messages is not opened: nobody could tell what is missing.
func TestOpenFindsGaps(t *testing.T) {
	t.Parallel()
	nc := embeddedtest.Connect(t, embeddedtest.Server(t))
	ctx := testContext(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := jetstream.StreamConfig{
		Name: eventstore.StreamLog, Subjects: []string{"closure.log.>"}, Storage: jetstream.FileStorage,
		DenyPurge: true, AllowDirect: true, AllowAtomicPublish: true,
	}
	stream, err := js.CreateStream(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := js.Publish(ctx, "closure.log.account.a", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.DeleteMsg(ctx, 3); err != nil {
		t.Fatal(err)
	}
	cfg.DenyDelete = true
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	_, err = eventstore.Open(ctx, nc, eventstore.Config{})
	mustBe(t, err, eventstore.ErrBrokenChain)
}
