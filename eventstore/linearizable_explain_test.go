package eventstore_test

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// contradictions finds pairs of calls that no order can explain, for whoever has to look into a history that is refused. The
// check does not need them: it looks at all calls together, but only says that there is no order, and takes long to say so.
func contradictions(history []porcupine.Operation) []string {
	var found []string
	report := func(what string, calls ...porcupine.Operation) {
		for _, o := range calls {
			what += fmt.Sprintf("\n  rival %2d from %d to %d: %s", o.ClientId, o.Call, o.Return, describe(o.Input.(headOp), o.Output.(headAnswer)))
		}
		found = append(found, what)
	}
	// The append that made a head the current one, and the one that ended that.
	made, ended := map[uint64]porcupine.Operation{}, map[uint64]porcupine.Operation{}
	for _, o := range history {
		in, out := o.Input.(headOp), o.Output.(headAnswer)
		if !in.append || !out.stored {
			continue
		}
		if other, twice := ended[in.head]; twice {
			report("two appends are stored behind one head", other, o)
		}
		if out.head <= in.head {
			report("an append stands before its head", o)
		}
		made[out.head], ended[in.head] = o, o
	}
	for _, o := range history {
		in, out := o.Input.(headOp), o.Output.(headAnswer)
		head := in.head
		if !in.append {
			head = out.head
		}
		first, isMade := made[head]
		last, isEnded := ended[head]
		switch {
		case in.append && !out.stored:
			if (head == 0 || isMade && first.Return < o.Call) && (!isEnded || last.Call > o.Return) {
				report("a conflict although the head is the current one all the time", o)
			}
		case head != 0 && !isMade:
			report("a head that nobody appended", o)
		case head != 0 && first.Call > o.Return:
			report("the head is there before it was appended", o, first)
		case !in.append && isEnded && last.Return < o.Call:
			report("a read of a head that is not the current one any more", o, last)
		}
	}
	return append(found, backwards(history)...)
}

// backwards finds reads that see less than a read that was over before they began.
func backwards(history []porcupine.Operation) (found []string) {
	for _, before := range history {
		for _, after := range history {
			reads := !before.Input.(headOp).append && !after.Input.(headOp).append
			if saw, sees := before.Output.(headAnswer).head, after.Output.(headAnswer).head; reads && before.Return < after.Call && sees < saw {
				found = append(found, fmt.Sprintf("a read by rival %d from %d to %d saw %d, one by rival %d from %d to %d then saw %d",
					before.ClientId, before.Call, before.Return, saw, after.ClientId, after.Call, after.Return, sees))
			}
		}
	}
	return found
}
