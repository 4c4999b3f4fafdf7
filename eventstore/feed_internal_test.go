package eventstore

import (
	"context"
	"slices"
	"testing"
)

// The feed keeps what follows on each other, and forgets what is taken already;
// what it cannot keep shows in known.
func TestFeed(t *testing.T) {
	f := newFeed(feedLimit)
	take := func(next uint64, limit int) (seqs []uint64) {
		run, _ := f.take(next, limit)
		for _, d := range run {
			seqs = append(seqs, d.seq)
		}
		return seqs
	}
	for _, seq := range []uint64{3, 4, 4, 5, 2, 7, 8} {
		f.offer(delivered{seq: seq, body: []byte("xx")})
	}
	if len(f.queue) != 5 {
		t.Fatalf("%d messages kept, want 5: each once, in ascending order", len(f.queue))
	}
	if got := take(2, 10); got != nil {
		t.Fatalf("took %v in place of 2, which is not kept", got)
	}
	if got := take(3, 2); !slices.Equal(got, []uint64{3, 4}) {
		t.Fatalf("took %v, want 3 and 4", got)
	}
	if got := take(5, 10); !slices.Equal(got, []uint64{5}) {
		t.Fatalf("took %v, want 5 alone, for 6 is missing", got)
	}
	if got := take(8, 10); !slices.Equal(got, []uint64{8}) {
		t.Fatalf("took %v, want 8, with 7 forgotten", got)
	}
	if len(f.queue) != 0 || f.bytes != 0 {
		t.Fatalf("%d messages of %d bytes are left", len(f.queue), f.bytes)
	}
	for seq := range uint64(feedLimit + 10) {
		f.offer(delivered{seq: seq + 9})
	}
	if _, known := f.take(1, 1); len(f.queue) != feedLimit || known != feedLimit+18 {
		t.Fatalf("%d messages kept, known %d", len(f.queue), known)
	}
	if room := f.waitRoom(context.Background(), 1); room != 0 {
		t.Fatalf("room for %d", room)
	}
	take(9, 3)
	if room := f.waitRoom(context.Background(), patienceInternal); room != 3 {
		t.Fatalf("room for %d, want 3", room)
	}
}

const patienceInternal = 10_000_000_000 // ten seconds

// The receipt of the highest sequence stands for all below it.
func TestReceipts(t *testing.T) {
	r := newReceipts()
	for seq, reply := range map[uint64]string{3: "c", 1: "a", 2: "old", 9: "i"} {
		r.add(seq, reply)
	}
	r.add(2, "b")
	for _, c := range []struct {
		upTo uint64
		want string
	}{{0, ""}, {2, "b"}, {2, ""}, {8, "c"}, {9, "i"}, {99, ""}} {
		if got := r.upTo(c.upTo); got != c.want {
			t.Errorf("up to %d: %q, want %q", c.upTo, got, c.want)
		}
	}
}
