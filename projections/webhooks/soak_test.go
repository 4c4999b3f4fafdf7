//go:build soak

package webhooks_test

import "testing"

// TestSoak is for before a release, and takes minutes:
//
//	go test -tags soak -run TestSoak -v -timeout 30m ./projections/webhooks
func TestSoak(t *testing.T) { trial{endpoints: 20, events: 50_000, kills: 3}.run(t) }
