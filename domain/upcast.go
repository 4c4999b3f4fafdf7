package domain

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// How the shapes of events change. What stands in a log is never rewritten: an engine reads every version of an event that was
// ever written, as the event is today, and writes the current one. So what decides and folds knows today's shapes only.
//
// To give an event another shape, of which the current version is n:
//
//  1. Make the alias eventVn below a struct of its own, with the members that the event has until now. A former shape is
//     frozen: it refers to no struct that may change.
//  2. Change the event, and add the alias eventVn+1 for it.
//  3. Write the step from eventVn to eventVn+1, and add it to former. The steps before it stay as they are. A step takes
//     every value of its shape, and adds nothing that was not so: what was decided on the former shape is decided again on
//     what becomes of it (Plausible), and has to come out the same.
//  4. Add golden files of the new version (go test ./domain -update), and a golden log that holds it.
//
// A log that has new versions stops every engine that does not know them, at the aggregates that have them: all instances get
// the new version of the engine before they meet one, or wait.

// former is how the versions before the current one are read. An event that is not here has version 1 only.
var former = map[string][]reader{
	EventOrderRecorded: was(orderRecordedV1.next, is[OrderRecorded]()).readers,
}

// renamed are the wire names of former times. There are none yet.
var renamed = map[string]rename{}

type (
	// orderRecordedV1 did not say how much of an order was executed.
	orderRecordedV1 struct {
		OrderID        string      `json:"order_id"`
		Status         OrderStatus `json:"status"`
		PreviousStatus OrderStatus `json:"previous_status"`
		Revision       int64       `json:"revision"`
	}
	orderRecordedV2 = OrderRecorded
)

// next: what was CANCELLED counted as having bought and sold nothing. How much of it was executed of any other is not known.
func (e orderRecordedV1) next() orderRecordedV2 {
	var filled Decimal
	if e.Status == OrderCancelled {
		filled = "0"
	}
	return orderRecordedV2{OrderID: e.OrderID, Status: e.Status, PreviousStatus: e.PreviousStatus, FilledQuantity: filled, Revision: e.Revision}
}

// reader reads one version of an event, as the event is today.
type reader = func(data []byte) (Event, error)

// chain is how a shape of an event becomes today's, and how it is read with all shapes between the two. The compiler holds it
// together: a step that is missing, or that leads elsewhere, does not fit.
type chain[Shape any] struct {
	readers []reader // of Shape first; today's is not in it
	today   func(Shape) Event
}

// is ends a chain: the event as it is today.
func is[E Event]() chain[E] { return chain[E]{today: func(e E) Event { return e }} }

// was puts a former shape before a chain, with the step that leads there.
func was[Old, New any](step func(Old) New, then chain[New]) chain[Old] {
	today := func(e Old) Event { return then.today(step(e)) }
	read := func(data []byte) (Event, error) {
		e, err := strictly[Old](data)
		if err != nil {
			return nil, err
		}
		return today(e), nil
	}
	return chain[Old]{readers: append([]reader{read}, then.readers...), today: today}
}

// decode reads an event that has today's shape.
func decode[E Event](data []byte) (Event, error) {
	e, err := strictly[E](data)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// strictly takes the members that the shape has, and no other.
func strictly[Shape any](data []byte) (shape Shape, err error) {
	// null would pass as an event with nothing in it.
	if jsontext.Value(data).Kind() != '{' {
		return shape, errors.New("the data is not a JSON object")
	}
	err = json.Unmarshal(data, &shape, json.RejectUnknownMembers(true))
	return shape, err
}

// rename says that an event had another wire name, up to a version: it was written as that version of what it is called now.
// Its versions go on under the new name.
type rename struct {
	to   string
	last int
}

// readers are all that can be read, by wire name: its version 1 first, and the current one last.
var readers = allReaders(prototypes, former, renamed)

func allReaders(today map[string]reader, former map[string][]reader, renamed map[string]rename) map[string][]reader {
	all := make(map[string][]reader, len(today)+len(renamed))
	for name, current := range today {
		all[name] = append(append([]reader{}, former[name]...), current)
	}
	for old, r := range renamed {
		all[old] = all[r.to][:min(r.last, len(all[r.to]))]
	}
	return all
}

// readerOf finds what reads a version.
func readerOf(all map[string][]reader, name string, version int) (reader, error) {
	versions := all[name]
	switch {
	case len(versions) == 0:
		return nil, fmt.Errorf("%w: %s version %d: this version of the engine has no event of that name; use one that knows it", ErrUnknownEvent, name, version)
	case version > len(versions):
		return nil, fmt.Errorf("%w: %s version %d: this version of the engine knows it up to version %d; use a later one", ErrUnknownEvent, name, version, len(versions))
	case version < 1:
		return nil, fmt.Errorf("%w: %s version %d: versions begin at 1", ErrUnknownEvent, name, version)
	}
	return versions[version-1], nil
}
