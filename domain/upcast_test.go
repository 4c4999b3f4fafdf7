package domain

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// goldenFile is what a golden file is of, by its name: account.opened.v1.json. A variant stands before the ending:
// account.opened.v1.least.json.
type goldenFile struct {
	name    string
	version int
	variant string
}

var goldenName = regexp.MustCompile(`^([a-z_]+\.[a-z_]+)\.v([1-9][0-9]{0,3})(?:\.([a-z]+))?\.json$`)

func parseGolden(file string) (g goldenFile, err error) {
	m := goldenName.FindStringSubmatch(file)
	if m == nil {
		return g, fmt.Errorf("%s does not say which version of which event it is: <wire name>.v<version>[.<variant>].json", file)
	}
	version, err := strconv.Atoi(m[2])
	return goldenFile{m[1], version, m[3]}, err
}

// formerly is what the golden files of former versions are read as, by their names.
var formerly = map[string]Event{
	"account.order_recorded.v1.json":            OrderRecorded{OrderID: someOrder, Status: OrderFilled, PreviousStatus: OrderProcessing, Revision: 2},
	"account.order_recorded.v1.processing.json": OrderRecorded{OrderID: someOrder, Status: OrderProcessing, PreviousStatus: OrderNew, Revision: 1},
	"account.order_recorded.v1.cancelled.json": OrderRecorded{OrderID: someOrder, Status: OrderCancelled, PreviousStatus: OrderNew, FilledQuantity: "0",
		Revision: 1},
}

// want is the event that a golden file has to be read as; nil when nothing says so.
func (g goldenFile) want(file string) Event {
	s := samples()[g.name]
	switch {
	case g.version != EventVersion(g.name):
		return formerly[file]
	case g.variant == "":
		return s.full
	case g.variant == "least":
		return s.least
	}
	return nil
}

// lacking says what is wrong with a set of golden files: each version of each event has one, and each is one of an event.
func lacking(files []string) (out []string) {
	pinned := map[goldenFile]bool{}
	for _, file := range files {
		g, err := parseGolden(file)
		switch {
		case err != nil:
			out = append(out, err.Error())
			continue
		case EventVersion(g.name) == 0:
			out = append(out, file+" belongs to no event; a file that was written once is never removed or renamed")
		case g.version > EventVersion(g.name):
			out = append(out, fmt.Sprintf("%s: %s is written in version %d; a step to a later one is missing", file, g.name, EventVersion(g.name)))
		case g.want(file) == nil:
			out = append(out, file+" is compared with nothing")
		}
		pinned[goldenFile{name: g.name, version: g.version}] = pinned[goldenFile{name: g.name, version: g.version}] || g.variant == ""
	}
	for _, name := range EventTypes() {
		for version := range EventVersion(name) {
			if !pinned[goldenFile{name: name, version: version + 1}] {
				out = append(out, fmt.Sprintf("%s.v%d.json is missing: nothing shows that the version is still read", name, version+1))
			}
		}
	}
	return out
}

func goldenFiles(t *testing.T) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(goldenEvents)
	require.NoError(t, err)
	for _, e := range entries {
		files = append(files, e.Name())
	}
	return files
}

// TestGoldenFilesAreComplete: each version of each event is pinned, and no file has lost its event.
func TestGoldenFilesAreComplete(t *testing.T) {
	files := goldenFiles(t)
	require.Empty(t, lacking(files))
	for file := range formerly {
		require.Contains(t, files, file)
	}

	// The check itself has to find what is missing, and what nobody knows.
	without := func(file string) []string {
		return slices.DeleteFunc(slices.Clone(files), func(f string) bool { return f == file })
	}
	for want, spoilt := range map[string][]string{
		"account.order_recorded.v1.json is missing":   without("account.order_recorded.v1.json"),
		"account.order_recorded.v2.json is missing":   without("account.order_recorded.v2.json"),
		"account.opened.v1.json is missing":           without("account.opened.v1.json"),
		"a step to a later one is missing":            append(slices.Clone(files), "account.opened.v2.json"),
		"belongs to no event":                         append(slices.Clone(files), "account.teleported.v1.json"),
		"does not say which version of which event":   append(slices.Clone(files), "account.opened.json"),
		"v1.most.json is compared with nothing":       append(slices.Clone(files), "account.order_recorded.v1.most.json"),
		"opened.v1.least.json is compared with":       append(slices.Clone(files), "account.opened.v1.least.json"),
		"recorded.v2.cancelled.json is compared with": append(slices.Clone(files), "account.order_recorded.v2.cancelled.json"),
	} {
		found := lacking(spoilt)
		require.Len(t, found, 1, want)
		require.Contains(t, found[0], want)
	}
}

// TestEveryGoldenFileIsRead: whatever was ever written is read, as the event is today. And it is written again in the current
// version, which is read as the same.
func TestEveryGoldenFileIsRead(t *testing.T) {
	former := 0
	for _, file := range goldenFiles(t) {
		t.Run(file, func(t *testing.T) {
			g, err := parseGolden(file)
			require.NoError(t, err)
			data, err := os.ReadFile(filepath.Join(goldenEvents, file))
			require.NoError(t, err)
			e, err := DecodeEvent(g.name, g.version, data)
			require.NoError(t, err)
			require.Equal(t, g.want(file), e)
			require.Equal(t, g.name, EventType(kindOf(g.name), e))
			written, err := EncodeEvent(e)
			require.NoError(t, err)
			again, err := DecodeEvent(g.name, EventVersion(g.name), written)
			require.NoError(t, err)
			require.Equal(t, e, again)
			if g.version < EventVersion(g.name) {
				former++
			}
		})
	}
	require.Equal(t, len(formerly), former)
}

// TestMembersBelongToTheirVersion: a member that came later is unknown in the versions before, and an error there.
func TestMembersBelongToTheirVersion(t *testing.T) {
	data := []byte(`{"order_id":"` + someOrder + `","status":"CANCELLED","previous_status":"NEW","filled_quantity":"3","revision":1}`)
	_, err := DecodeEvent(EventOrderRecorded, 1, data)
	require.ErrorContains(t, err, "event account.order_recorded version 1")
	require.ErrorContains(t, err, "filled_quantity")
	require.NotErrorIs(t, err, ErrUnknownEvent)
	e, err := DecodeEvent(EventOrderRecorded, 2, data)
	require.NoError(t, err)
	require.Equal(t, OrderRecorded{OrderID: someOrder, Status: OrderCancelled, PreviousStatus: OrderNew, FilledQuantity: "3", Revision: 1}, e)
	for _, broken := range []string{"", "null", "[]", `{"order_id":1}`, `{"status":"FILLED","status":"FILLED"}`, `{"Status":"FILLED"}`} {
		e, err := DecodeEvent(EventOrderRecorded, 1, []byte(broken))
		require.Error(t, err, "%q", broken)
		require.Nil(t, e)
		require.NotErrorIs(t, err, ErrUnknownEvent)
	}
}

// TestEachEventHasAVersionOfItsOwn: most have the first one only.
func TestEachEventHasAVersionOfItsOwn(t *testing.T) {
	later := map[string]int{}
	for _, name := range EventTypes() {
		if v := EventVersion(name); v != 1 {
			later[name] = v
		}
	}
	require.Equal(t, map[string]int{EventOrderRecorded: 2}, later, "what is written is pinned: a version is never taken back")
	require.Zero(t, EventVersion("account.teleported"))
	for name := range former {
		require.Contains(t, EventTypes(), name, "former shapes of an event that is none")
	}
	for old, r := range renamed {
		require.NotContains(t, EventTypes(), old, "a former name that is given to another event")
		require.GreaterOrEqual(t, EventVersion(r.to), r.last)
		require.Equal(t, kindOf(old), kindOf(r.to), "an event stays with its aggregate")
	}
}

// The shapes of an event of the tests, which has had three, and another name for the first two.
type (
	weighedV1 struct {
		Pounds int `json:"pounds"`
	}
	weighedV2 struct {
		Grams int `json:"grams"`
	}
	weighed struct {
		Grams int    `json:"grams"`
		By    string `json:"by"`
	}
)

func (weighed) eventName() string { return "weighed" }

func (e weighedV1) next() weighedV2 { return weighedV2{Grams: 454 * e.Pounds} }
func (e weighedV2) next() weighed   { return weighed{Grams: e.Grams, By: "somebody"} }

// TestChains: each version goes through every step behind it, and a name of former times ends where the new one begins.
func TestChains(t *testing.T) {
	all := allReaders(
		map[string]reader{"account.weighed": decode[weighed], "account.locked": decode[LockApplied]},
		map[string][]reader{"account.weighed": was(weighedV1.next, was(weighedV2.next, is[weighed]())).readers},
		map[string]rename{"account.weight_taken": {to: "account.weighed", last: 2}, "account.lost": {to: "account.locked", last: 5}},
	)
	read := func(name string, version int, data string) (Event, error) {
		r, err := readerOf(all, name, version)
		if err != nil {
			return nil, err
		}
		return r([]byte(data))
	}
	for _, name := range []string{"account.weighed", "account.weight_taken"} {
		for version, data := range map[int]string{1: `{"pounds":2}`, 2: `{"grams":908}`} {
			e, err := read(name, version, data)
			require.NoError(t, err)
			require.Equal(t, weighed{Grams: 908, By: "somebody"}, e, "%s version %d", name, version)
		}
		_, err := read(name, 1, `{"grams":908}`)
		require.ErrorContains(t, err, "grams", "a member of another version")
	}
	e, err := read("account.weighed", 3, `{"grams":5,"by":"me"}`)
	require.NoError(t, err)
	require.Equal(t, weighed{Grams: 5, By: "me"}, e)
	_, err = read("account.weight_taken", 3, `{"grams":5,"by":"me"}`)
	require.ErrorIs(t, err, ErrUnknownEvent)
	require.ErrorContains(t, err, "up to version 2")
	_, err = read("account.weighed", 4, `{}`)
	require.ErrorIs(t, err, ErrUnknownEvent)
	require.Len(t, all["account.locked"], 1, "an event that has not changed")
	require.Len(t, all["account.lost"], 1, "a version that the event has not had is not read under its former name either")
}
