package eventstore_test

import (
	"flag"
	"runtime"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// TestMain: when all tests are over, nothing of the package may still run.
func TestMain(m *testing.M) { goleak.VerifyTestMain(allTests{m}) }

// allTests ends what the tests share before anybody looks for what still runs.
type allTests struct{ *testing.M }

func (a allTests) Run() int {
	// Most tests wait: for connections to break, servers to elect, bounds to run out. With as
	// many at a time as there are cores, those would be idle. A flag on the command line wins.
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	defer shared.shutdown()
	return a.M.Run()
}
