package readmodel_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"closure/eventstore"
	"closure/projections/readmodel"
)

// With these the test binary is a process that only runs a model, to be killed.
const (
	childURL  = "CLOSURE_TEST_READMODEL_URL"
	childFile = "CLOSURE_TEST_READMODEL_FILE"
	// childPoint makes it a process of the next version, which kills itself at a point of the exchange of files.
	childPoint = "CLOSURE_TEST_READMODEL_POINT"
)

// child runs a model, and writes a line with its position whenever that moves.
func child(url, path string) int {
	if err := follow(url, path); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

func follow(url, path string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log, err := eventstore.Open(ctx, nc, eventstore.Config{})
	if err != nil {
		return err
	}
	m := readmodel.New(readmodel.Config{Path: path, Log: log})
	if point := os.Getenv(childPoint); point != "" {
		m.As(next, readmodel.SchemaVersion)
		m.At(func(ctx context.Context, at string, _ uint64) error {
			if at != point {
				return nil
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			<-ctx.Done()
			return ctx.Err()
		})
	}
	if err := m.Start(ctx); err != nil {
		return err
	}
	for {
		fmt.Println(m.Position())
		if err := m.WaitFor(ctx, m.Position()+1); err != nil {
			return err
		}
	}
}

// run starts a child, kills it (SIGKILL) when it has moved on a number of times, and returns where it began.
func run(t *testing.T, w *world, path string, moves int) (began uint64) {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+w.url, childFile+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("start the child: %v", err)
	}
	lines := bufio.NewScanner(out)
	for i := 0; i <= moves && lines.Scan(); i++ {
		position, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
		if i == 0 {
			began = position
		}
		// What another process sees while it is written is of one piece, too.
		if i == moves/2 {
			readSnapshot(t, path).check(t, w.log)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatalf("kill the child: %v", err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the child was not killed, it ended: %v", cmd.ProcessState)
	}
	return began
}

// A process that is killed at any moment leaves a file whose rows are those of the log at its position, and the next one
// goes on from there.
func TestKilledAtAnyMoment(t *testing.T) {
	w := newWorld(t)
	path := file(t)
	ctx, cancel := context.WithCancel(context.Background())
	finish := busy(ctx, w)
	defer func() { cancel(); finish() }()
	var last uint64
	for _, moves := range []int{1, 20, 3, 11, 33, 7} {
		if began := run(t, w, path, moves); began < last {
			t.Errorf("it began at %d, and the file was at %d", began, last)
		}
		left := readSnapshot(t, path)
		left.check(t, w.log)
		if left.position < last {
			t.Errorf("the position went back from %d to %d", last, left.position)
		}
		last = left.position
	}
	cancel()
	finish()
	m, logged := started(t, w.log, path)
	caughtUp(t, w.log, m)
	readSnapshot(t, path).check(t, w.log)
	if logged.has("building the read model") {
		t.Errorf("the file was not used after a kill:\n%s", logged.String())
	}
	if last == 0 {
		t.Error("nothing was written before the kills")
	}
}

// runUntil runs a child of the next version until it kills itself at a point.
func runUntil(t *testing.T, w *world, path, point string) {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+w.url, childFile+"="+path, childPoint+"="+point)
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL || testContext(t).Err() != nil {
		t.Fatalf("the child was not killed at %q: %v", point, err)
	}
}

// A process that is killed at any step of the exchange of a former file for a new one leaves a file that serves, with all
// that it showed, and the next one comes to the end.
func TestKilledInTheExchange(t *testing.T) {
	w := newWorld(t)
	fill(t, w, uuid.NewString(), 48, 1500)
	former, position := filled(t, w)
	for point, moved := range map[string]bool{
		readmodel.PointBuilding: false, readmodel.PointBuilt: false, readmodel.PointSettled: false,
		readmodel.PointVacated: false, readmodel.PointReplaced: true,
	} {
		t.Run(point, func(t *testing.T) {
			path := file(t)
			copyFile(t, former, path)
			runUntil(t, w, path, point)
			if left := readSnapshot(t, path); left.position < position || moved == (len(files(t, path)) > 1) {
				t.Errorf("position %d of %d; in the folder are %q", left.position, position, files(t, path))
			}
			m, logged := newer(w.log, path)
			held := hold(m, readmodel.PointBuilt, 0)
			start(t, m)
			if m.Position() < position || m.Ready() != nil {
				t.Errorf("it serves at %d of %d: %v", m.Position(), position, m.Ready())
			}
			if !moved {
				held.await(t)
				checkMarks(t, w, m, 50, 50)
				close(held.let)
				logged.waitFor(t, saysMoved, 1)
			}
			checkMarks(t, w, m, 0, 50)
			stop(t, m)
			checkOneFile(t, w, path)
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// At whatever moment one looks into the file while it is written, rows and position are of the same commit.
func TestRowsAgreeWithThePosition(t *testing.T) {
	w := newWorld(t)
	path := file(t)
	m, _ := started(t, w.log, path)
	ctx, cancel := context.WithCancel(context.Background())
	finish := busy(ctx, w)
	defer func() { cancel(); finish() }()
	db := openFile(t, path)
	seen := map[uint64]snapshot{}
	for len(seen) < 60 {
		s := snapshotOf(t, db)
		seen[s.position] = s
		if err := m.WaitFor(testContext(t), s.position+1); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	finish()
	for _, s := range seen {
		s.check(t, w.log)
	}
}

// Stops that cut the batch in hand short, while the log is written: position and rows always agree, and in the end the
// file is the same as one that is built from scratch.
func TestStoppedInTheMiddle(t *testing.T) {
	w := newWorld(t)
	path := file(t)
	ctx, cancel := context.WithCancel(context.Background())
	finish := busy(ctx, w)
	defer func() { cancel(); finish() }()
	for range 8 {
		m := readmodel.New(readmodel.Config{Path: path, Log: w.log})
		if err := m.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if err := m.WaitFor(testContext(t), m.Position()+5); err != nil {
			t.Fatal(err)
		}
		cutShort(m)
		readSnapshot(t, path).check(t, w.log)
	}
	cancel()
	finish()
	continued, _ := started(t, w.log, path)
	caughtUp(t, w.log, continued)
	scratch := file(t)
	fresh, _ := started(t, w.log, scratch)
	caughtUp(t, w.log, fresh)
	got, want := readSnapshot(t, path), readSnapshot(t, scratch)
	want.check(t, w.log)
	if got.position != want.position || !maps.Equal(got.rows, want.rows) {
		t.Errorf("position %d with %d rows, from scratch %d with %d", got.position, len(got.rows), want.position, len(want.rows))
	}
	got.check(t, w.log)
}
