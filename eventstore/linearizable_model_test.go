package eventstore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// checkWithin bounds the search for an order that explains a history.
const checkWithin = 10 * time.Second

// headOp is one call about the head of an aggregate: a read of it, or an append behind it.
type headOp struct {
	append bool
	head   uint64 // sequence that the append was given
	// readsOf is how often, in the whole history, the head that the append was given is read.
	readsOf int
}

// headAnswer is what the call gave.
type headAnswer struct {
	stored bool   // the append was a success; else it was a conflict
	head   uint64 // sequence that is the head from now on, of an append that was stored; or that a read saw
}

// headState is the head, and how often it was read so far.
type headState struct {
	head  uint64
	reads int
}

// headModel is what the log promises about one aggregate: an append succeeds exactly when the head given is the current one,
// and puts its own commit there; a conflict means that the head given is not the current one; a read sees the current one.
//
// Sequences only grow, so a head that was left never comes back. Therefore an append behind a head can only stand after all
// reads of that head, however many there are: the model says so, which changes nothing in what it allows, and keeps the
// search from trying all the orders in which that goes wrong.
func headModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return headState{} },
		Step: func(state, input, output any) (bool, any) {
			s, op, got := state.(headState), input.(headOp), output.(headAnswer)
			switch {
			case !op.append:
				return got.head == s.head, headState{s.head, s.reads + 1}
			case !got.stored:
				return op.head != s.head, s
			}
			return op.head == s.head && got.head > s.head && s.reads == op.readsOf, headState{head: got.head}
		},
		Hash: func(state any) uint64 {
			s := state.(headState)
			return s.head<<20 ^ uint64(s.reads)
		},
		DescribeOperation: func(input, output any) string { return describe(input.(headOp), output.(headAnswer)) },
	}
}

func describe(op headOp, got headAnswer) string {
	switch {
	case !op.append:
		return fmt.Sprintf("read %d", got.head)
	case got.stored:
		return fmt.Sprintf("append behind %d: stored at %d", op.head, got.head)
	}
	return fmt.Sprintf("append behind %d: conflict", op.head)
}

// plainModel is headModel without its shortcut.
func plainModel() porcupine.Model {
	m := headModel()
	m.Step = func(state, input, output any) (bool, any) {
		s, op, got := state.(headState), input.(headOp), output.(headAnswer)
		switch {
		case !op.append:
			return got.head == s.head, s
		case !got.stored:
			return op.head != s.head, s
		}
		return op.head == s.head && got.head > s.head, headState{head: got.head}
	}
	return m
}

// checkHeads looks for an order of the calls, each between its begin and its end, that the model allows.
func checkHeads(history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(headModel(), countReads(history), checkWithin)
}

// countReads tells each append how often its head is read.
func countReads(history []porcupine.Operation) []porcupine.Operation {
	reads := map[uint64]int{}
	for _, o := range history {
		if !o.Input.(headOp).append {
			reads[o.Output.(headAnswer).head]++
		}
	}
	out := make([]porcupine.Operation, len(history))
	for i, o := range history {
		in := o.Input.(headOp)
		in.readsOf = reads[in.head]
		o.Input = in
		out[i] = o
	}
	return out
}

func readOf(head uint64, call, end int64) porcupine.Operation {
	return porcupine.Operation{Input: headOp{}, Output: headAnswer{head: head}, Call: call, Return: end}
}

func storedAt(seq, head uint64, call, end int64) porcupine.Operation {
	return porcupine.Operation{Input: headOp{append: true, head: head}, Output: headAnswer{stored: true, head: seq}, Call: call, Return: end}
}

func conflictOn(head uint64, call, end int64) porcupine.Operation {
	return porcupine.Operation{Input: headOp{append: true, head: head}, Output: headAnswer{}, Call: call, Return: end}
}

// The check finds what it is there to find.
func TestForgedHistoriesAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want    porcupine.CheckResult
		history []porcupine.Operation
	}{
		"one after the other": {porcupine.Ok, []porcupine.Operation{
			readOf(0, 0, 1), storedAt(5, 0, 2, 3), readOf(5, 4, 5), conflictOn(0, 6, 7), storedAt(9, 5, 8, 9), readOf(9, 10, 11),
		}},
		"two successes on one head": {porcupine.Illegal, []porcupine.Operation{
			storedAt(5, 0, 0, 10), storedAt(6, 0, 0, 10),
		}},
		"two successes on one head, later": {porcupine.Illegal, []porcupine.Operation{
			storedAt(5, 0, 0, 1), storedAt(8, 5, 2, 9), storedAt(9, 5, 2, 9), readOf(9, 10, 11),
		}},
		"a read that is behind": {porcupine.Illegal, []porcupine.Operation{
			storedAt(5, 0, 0, 1), readOf(0, 2, 3),
		}},
		"a read that goes back": {porcupine.Illegal, []porcupine.Operation{
			storedAt(5, 0, 0, 9), readOf(5, 1, 2), readOf(0, 3, 4),
		}},
		"a read during the append sees either": {porcupine.Ok, []porcupine.Operation{
			storedAt(5, 0, 0, 9), readOf(0, 1, 2), readOf(5, 3, 4), readOf(5, 1, 4),
		}},
		"a read of what nobody appended": {porcupine.Illegal, []porcupine.Operation{
			storedAt(5, 0, 0, 1), readOf(6, 2, 3),
		}},
		"a conflict without a reason": {porcupine.Illegal, []porcupine.Operation{
			storedAt(5, 0, 0, 1), conflictOn(5, 2, 3), storedAt(6, 5, 4, 5),
		}},
		"a conflict with one that is on its way": {porcupine.Ok, []porcupine.Operation{
			storedAt(5, 0, 0, 1), conflictOn(5, 2, 3), storedAt(6, 5, 2, 5),
		}},
		"a success on a head that is left": {porcupine.Illegal, []porcupine.Operation{
			storedAt(5, 0, 0, 1), storedAt(6, 5, 2, 3), storedAt(7, 5, 4, 5),
		}},
		"a success on a head that is yet to come": {porcupine.Illegal, []porcupine.Operation{
			storedAt(6, 5, 0, 1), storedAt(5, 0, 2, 3),
		}},
		"a success that goes back in the log": {porcupine.Illegal, []porcupine.Operation{
			storedAt(5, 0, 0, 1), storedAt(4, 5, 2, 3),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, checkHeads(c.history))
			require.Equal(t, c.want == porcupine.Illegal, len(contradictions(c.history)) > 0, "contradictions: %q", contradictions(c.history))
		})
	}
}

// The shortcut of the model allows and refuses what it would without.
func TestHeadModelIsThePlainOne(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	results := map[porcupine.CheckResult]int{}
	for n := range 5000 {
		history := randomHistory(random)
		want := porcupine.CheckOperationsTimeout(plainModel(), history, 0)
		results[want]++
		require.Equal(t, want, checkHeads(history), "history %d: %+v", n, history)
		if want == porcupine.Ok {
			require.Empty(t, contradictions(history), "history %d: %+v", n, history)
		}
	}
	require.Greater(t, min(results[porcupine.Ok], results[porcupine.Illegal]), 500, "both kinds of histories: %v", results)
}

// randomHistory is a few calls that overlap: mostly ones that were, some of them with another answer.
func randomHistory(random *rand.Rand) []porcupine.Operation {
	var history []porcupine.Operation
	head := uint64(0)
	for at := range int64(3 + random.IntN(6)) {
		// They take effect in this order.
		call, end := 10*at-random.Int64N(30), 10*at+random.Int64N(30)
		switch random.IntN(4) {
		case 0:
			next := head + 1 + random.Uint64N(2)
			history = append(history, storedAt(next, head, call, end))
			head = next
		case 1:
			history = append(history, conflictOn(head+random.Uint64N(2)*(1+random.Uint64N(2)), call, end))
		default:
			history = append(history, readOf(head-min(head, random.Uint64N(8)/7), call, end))
		}
	}
	return history
}
