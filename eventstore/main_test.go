package eventstore_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain: when all tests are over, nothing of the package may still run.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
