package eventstore_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
)

// In the environment these make TestServerToKill the server that is killed, or the keeper that starts and kills it.
const (
	killRole = "CLOSURE_TEST_KILL_ROLE"
	killDir  = "CLOSURE_TEST_KILL_DIR"
	killAddr = "CLOSURE_TEST_KILL_ADDR"
)

// TestServerToKill is run by TestKillDuringWrites, in processes of their own. Among the other tests it has nothing to do.
func TestServerToKill(t *testing.T) {
	switch os.Getenv(killRole) {
	case "server":
		serveUntilKilled(t)
	case "keeper":
		keepServer(t)
	}
}

// serveUntilKilled is a server as the engine embeds it.
func serveUntilKilled(t *testing.T) {
	s, err := embedded.Start(embedded.Config{Dir: os.Getenv(killDir), Addr: os.Getenv(killAddr)})
	require.NoError(t, err)
	fmt.Println("serving", s.Addr())
	// The keeper is gone: nobody is left to kill this one.
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

// keepServer does what it is told, line by line, and says when it is done.
func keepServer(t *testing.T) {
	var server *exec.Cmd
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "start":
			server = runSelf("server")
			_, err := server.StdinPipe() // closed when this process ends
			require.NoError(t, err)
			out, err := server.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, server.Start())
			require.NoError(t, readUntil(bufio.NewScanner(out), "serving"))
			fmt.Println("started")
		case "kill":
			require.NoError(t, server.Process.Kill())
			var exit *exec.ExitError
			require.ErrorAs(t, server.Wait(), &exit)
			require.Equal(t, "signal: killed", exit.ProcessState.String(), "the server ended by itself")
			fmt.Println("killed")
		}
	}
}

// runSelf is this program in another role.
func runSelf(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerToKill$")
	cmd.Env = append(os.Environ(), killRole+"="+role)
	return cmd
}

// readUntil reads lines up to one that begins with a word.
func readUntil(lines *bufio.Scanner, word string) error {
	var said []string
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), word) {
			return nil
		}
		said = append(said, lines.Text())
	}
	return fmt.Errorf("it did not say %q, but:\n%s", word, strings.Join(said, "\n"))
}

// A server that is killed with SIGKILL again and again, while many write, loses nothing that it acknowledged, and has nothing
// twice; the writers go on each time.
//
// With -short there are fewer kills, and fewer writers.
func TestKillDuringWrites(t *testing.T) {
	t.Parallel()
	kills, writers := 20, 64
	if testing.Short() {
		kills, writers = 5, 32
	}
	v := newVictim(t)
	v.start()
	// Appends on two of the logs may be over before the server is back, and not know what came of them. Those on the third
	// wait for it. On one of the logs they share batches, whatever the disk takes for an fsync.
	company, hasty, patient := v.openLog(400*time.Millisecond), v.openLog(400*time.Millisecond), v.openLog(patience)
	company.GroupAlways()
	r := startTrial(t, writers, place{log: company, own: true}, place{log: hasty}, place{log: company, own: true}, place{log: patient},
		place{log: company, own: true}, place{log: hasty}, place{log: company, own: true}, place{log: company, own: true})
	least := writers
	for n := range kills {
		// Each time the work has gone on, and has come to another place.
		inFlight := r.progress(writers/4 + 13*n%(writers/2))
		require.Positive(t, inFlight, "appends in flight")
		least = min(least, inFlight)
		v.kill()
		if n%2 == 1 {
			r.lost(writers / 8) // the server stays away for as long
		}
		v.start()
	}
	r.progress(writers)
	r.finish()
	// A commit that a writer gave up may still be on its way.
	for _, l := range []*eventstore.Log{company, hasty, patient} {
		require.NoError(t, l.Conn().Flush())
	}
	v.kill()
	v.start()
	log := readWhole(t, patient)
	r.compare(t, log)
	stats := company.GroupStats()
	require.Positive(t, stats.Batches, "batches that were stored")
	t.Logf("%d kills with %d appends or more in flight; %s; %d of those given up are among the %d in the log; in company %+v, else %+v",
		kills, least, r, r.foundAbandoned(log), len(log), stats, hasty.GroupStats())
}

// victim is a server in a process of its own. So is the keeper that starts it: a process that was just forked has, for a
// moment, all that its parent has open, and tests that run beside this one look for free addresses.
type victim struct {
	t    testing.TB
	addr string
	tell io.Writer
	said *bufio.Scanner
}

func newVictim(t testing.TB) *victim {
	t.Helper()
	v := &victim{t: t, addr: quietAddr(t)}
	keeper := runSelf("keeper")
	keeper.Env = append(keeper.Env, killDir+"="+t.TempDir(), killAddr+"="+v.addr)
	keeper.Stderr = os.Stderr
	in, err := keeper.StdinPipe()
	require.NoError(t, err)
	out, err := keeper.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, keeper.Start())
	// The end of what it reads ends the keeper, and that the server.
	t.Cleanup(func() {
		assert.NoError(t, in.Close())
		assert.NoError(t, keeper.Wait())
	})
	v.tell, v.said = in, bufio.NewScanner(out)
	return v
}

// start the server on its folder and its address, and wait until it serves.
func (v *victim) start() { v.do("start", "started") }

// kill the server, and wait until its process is gone.
func (v *victim) kill() { v.do("kill", "killed") }

func (v *victim) do(what, done string) {
	v.t.Helper()
	_, err := fmt.Fprintln(v.tell, what)
	require.NoError(v.t, err)
	require.NoError(v.t, readUntil(v.said, done))
}

func (v *victim) openLog(timeout time.Duration) *eventstore.Log {
	v.t.Helper()
	nc := embeddedtest.ConnectURL(v.t, "nats://"+v.addr, nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0), quiet)
	return openLogOn(v.t, nc, eventstore.Config{AppendTimeout: timeout})
}

// quietAddr is a free address with a port that the system gives to nobody who asks for any. While the server is gone, its
// clients try to connect again and again; one of those would sooner or later get the port for its own end of the connection.
func quietAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(32_000+rand.IntN(700)))
		if l, err := net.Listen("tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
	t.Fatal("no port is free from 32000 on")
	return ""
}
