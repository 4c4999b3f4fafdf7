package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/cmd/closure/bench"
)

// The smallest measurement gives every figure, and leaves nothing behind. What the values are is not for a test.
func TestBench(t *testing.T) {
	dir := t.TempDir()
	code, out, stderr := once(t, "", "bench", "--quick", "--json", "--smoke", "--dir", dir)
	require.Equal(t, exitDone, code, stderr)
	var r bench.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	require.Equal(t, 1, strings.Count(out, "\n"), "one document")
	require.False(t, r.Comparable)
	require.Positive(t, r.Machine.FsyncSeconds)
	require.NotEmpty(t, r.NATSServer)
	var ids []string
	for _, f := range r.Figures {
		ids = append(ids, f.ID)
		require.Empty(t, f.NotMeasured, f.Name)
		require.Positive(t, f.Value, f.Name)
		require.Equal(t, f.Target > 0, f.Reached != nil, f.Name)
		if f.Baseline != "" {
			require.Positive(t, f.BaselineValue, f.Name)
			require.Positive(t, f.RatioMin, f.Name)
			require.LessOrEqual(t, f.RatioMin, f.Ratio, f.Name)
			require.LessOrEqual(t, f.Ratio, f.RatioMax, f.Name)
		}
	}
	require.Equal(t, []string{
		"append_sync_1", "append_sync_16", "append_sync_256", "append_sync_1024", "command_64", "command_256", "disk_per_closed_account",
		"cold_load", "replay", "verify", "memory_per_aggregate", "append_growth", "cold_load_growth",
		"webhook_deliveries", "webhook_latency_p50", "webhook_latency_p99",
	}, ids)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// For people there is a table: a line for each figure, and what has to be known of it.
func TestBenchTable(t *testing.T) {
	reached := false
	r := bench.Report{Version: "1", NATSServer: "2", Server: "embedded", Size: "quick", Machine: bench.Machine{Cores: 2, FsyncSeconds: 0.00032, Filesystem: "ext4"},
		Figures: []bench.Result{
			{Name: "append", Unit: "commits/s", Value: 1234.4, Baseline: "plain", BaselineValue: 2000, Ratio: 0.62, RatioMin: 0.5, RatioMax: 0.7, Target: 0.9, Reached: &reached, Note: "so it is"},
			{Name: "disk", Unit: "bytes", NotMeasured: "not here"},
			{Name: "memory", Unit: "bytes", Value: 12.34},
		}}
	var out strings.Builder
	require.NoError(t, r.Table(&out))
	for _, want := range []string{
		"unknown CPU, 2 cores; an fsync on ext4 takes 0.32 ms\n", "quick: smaller logs and shorter rounds, not comparable",
		"\nappend  1,234 commits/s         plain  2,000 commits/s  0.62  0.50-0.70  0.90  NOT REACHED\n",
		"\ndisk not measured\n", "  disk: not measured: not here\n", "\nmemory  12.3 bytes\n", "  append: so it is\n",
	} {
		require.Contains(t, collapse(out.String()), collapse(want))
	}
}

// collapse makes the width of columns not matter.
func collapse(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

func TestBenchWrongUse(t *testing.T) {
	for says, args := range map[string][]string{
		"--replicas: must be 1, 3 or 5":        {"bench", "--replicas", "2"},
		"--replicas: more than 1 needs":        {"bench", "--replicas", "3"},
		"--dir: is for embedded servers":       {"bench", "--dir", t.TempDir(), "--nats-url", "nats://127.0.0.1:1"},
		"--dir: stat " + "nowhere-to-be-found": {"bench", "--dir", "nowhere-to-be-found"},
	} {
		code, out, stderr := once(t, "", args...)
		require.Equal(t, exitUsage, code, stderr)
		require.Empty(t, out)
		require.Contains(t, strings.ReplaceAll(stderr, mustGetwd(t)+"/", ""), says)
	}
	code, _, stderr := once(t, "", "bench", "--smoke", "--nats-url", "nats://127.0.0.1:1")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "connect to NATS")
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	return dir
}
