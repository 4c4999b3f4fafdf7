package eventstore_test

import (
	"fmt"
	"strings"
	"testing"

	"closure/eventstore"
)

// What somebody wrote past this package is found, by every way to read it, and
// the error says where it stands.
func TestTamperedCommitsAreFound(t *testing.T) {
	const subject = "closure.log.account.a"
	// Each one gets the head of the aggregate's only commit, and gives a second.
	for name, tamper := range map[string]struct {
		make func(t *testing.T, head eventstore.Head) (subject string, body []byte, hash string)
		want error
		only string // only this way of reading can find it
	}{
		"a body that was changed": {want: eventstore.ErrBrokenChain, make: func(t *testing.T, head eventstore.Head) (string, []byte, string) {
			body := bodyOf(t, head.Version+1, head.Hash)
			return subject, []byte(strings.Replace(string(body), `"actor":"test"`, `"actor":"mallory"`, 1)), eventstore.HashOf(body)
		}},
		"no hash": {want: eventstore.ErrBrokenChain, make: func(t *testing.T, head eventstore.Head) (string, []byte, string) {
			return subject, bodyOf(t, head.Version+1, head.Hash), ""
		}},
		"another aggregate's commit": {want: eventstore.ErrBrokenChain, make: func(t *testing.T, head eventstore.Head) (string, []byte, string) {
			body := bodyOf(t, head.Version+1, head.Hash)
			other := []byte(strings.Replace(string(body), `"aggregate_id":"a"`, `"aggregate_id":"b"`, 1))
			return subject, other, eventstore.HashOf(other)
		}},
		"not a commit": {want: eventstore.ErrMalformedCommit, make: func(*testing.T, eventstore.Head) (string, []byte, string) {
			return subject, []byte("{}"), eventstore.HashOf([]byte("{}"))
		}},
		"a wrong link": {want: eventstore.ErrBrokenChain, only: "Load", make: func(t *testing.T, head eventstore.Head) (string, []byte, string) {
			body := bodyOf(t, head.Version+1, strings.Repeat("0", 64))
			return subject, body, eventstore.HashOf(body)
		}},
		"a version left out": {want: eventstore.ErrBrokenChain, only: "Load", make: func(t *testing.T, head eventstore.Head) (string, []byte, string) {
			body := bodyOf(t, head.Version+2, head.Hash)
			return subject, body, eventstore.HashOf(body)
		}},
		"a second beginning": {want: eventstore.ErrBrokenChain, only: "Load", make: func(t *testing.T, _ eventstore.Head) (string, []byte, string) {
			body := bodyOf(t, 1, "")
			return subject, body, eventstore.HashOf(body)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := openLog(t)
			first := newWriter(t, l).append("account", "a")
			at, body, hash := tamper.make(t, first.Head())
			seq := publishRaw(t, l, at, body, hash)
			for way, err := range readEveryWay(t, l, seq) {
				if tamper.only != "" && !strings.HasPrefix(way, tamper.only) {
					continue
				}
				mustBe(t, err, tamper.want)
				if text := err.Error(); !strings.Contains(text, subject) || !strings.Contains(text, fmt.Sprintf("sequence %d", seq)) {
					t.Errorf("%s: %q does not name subject and sequence", way, text)
				}
			}
		})
	}
}

func bodyOf(t *testing.T, version int, prev string) []byte {
	t.Helper()
	c := commitOf("account", "a")
	c.Version, c.PrevHash = version, prev
	body, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func readEveryWay(t *testing.T, l *eventstore.Log, seq uint64) map[string]error {
	ctx := testContext(t)
	errs := map[string]error{}
	_, errs["Load"] = l.Load(ctx, "account", "a", 0)
	_, errs["LoadFromLeader"] = l.LoadFromLeader(ctx, "account", "a", 0)
	_, errs["Read"] = l.Read(ctx, seq, 10)
	// What is before it can still be read.
	if got, err := l.Read(ctx, 1, 10); err != nil || len(got) == 0 || got[0].Sequence != 1 {
		t.Errorf("what is before it: %d commits, %v", len(got), err)
	}
	return errs
}

// Without the beginning of its aggregate a commit cannot be judged, but those that
// follow on it can.
func TestLoadAfterVerifiesTheLinks(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	w := newWriter(t, l)
	w.append("account", "a")
	second := w.append("account", "a")
	body := bodyOf(t, second.Version+1, w.all[0].Hash) // follows on the first, not on the second
	publishRaw(t, l, "closure.log.account.a", body, eventstore.HashOf(body))
	_, err := l.Load(testContext(t), "account", "a", 1)
	mustBe(t, err, eventstore.ErrBrokenChain)
	if got, err := l.Load(testContext(t), "account", "a", 2); err != nil || len(got) != 1 {
		t.Fatalf("%d commits, %v; want 1", len(got), err)
	}
}

// An append behind a commit that is broken says so, instead of a conflict.
func TestAppendMeetsABrokenCommit(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	first := newWriter(t, l).append("account", "a")
	publishRaw(t, l, "closure.log.account.a", []byte("{}"), "")
	_, err := l.Append(testContext(t), commitOf("account", "a"), first.Head())
	mustBe(t, err, eventstore.ErrMalformedCommit)
}
