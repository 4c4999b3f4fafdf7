package verify_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"closure/eventstore"
	"closure/eventstore/embedded"
	"closure/eventstore/embedded/embeddedtest"
	"closure/eventstore/verify"
)

// What happens to the files of a server that is stopped is found when it runs again, at the place where it happened.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(log []verify.Message, block []byte) []byte
		want []string
		to   uint64
	}{
		"nothing": {func(_ []verify.Message, block []byte) []byte { return block }, []string{}, 0},
		"one byte of a body": {func(log []verify.Message, block []byte) []byte {
			block[bytes.Index(block, log[4].Body)+200]++
			return block
		}, []string{"MISSING@5"}, 10},
		"one byte of the hash": {func(log []verify.Message, block []byte) []byte {
			block[bytes.Index(block, []byte(log[4].Hash))]++
			return block
		}, []string{"MISSING@5"}, 10},
		"the tail": {func(log []verify.Message, block []byte) []byte {
			return block[:bytes.Index(block, log[8].Body)+10]
		}, []string{"MISSING@9"}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, log := t.TempDir(), closing(t).log
			server, err := embedded.Start(embedded.Config{Dir: dir, NoSync: true})
			require.NoError(t, err)
			js, err := jetstream.New(embeddedtest.Connect(t, server))
			require.NoError(t, err)
			_, err = js.CreateStream(testContext(t), jetstream.StreamConfig{Name: eventstore.StreamLog, AllowDirect: true, Subjects: []string{eventstore.LogSubjects}})
			require.NoError(t, err)
			publishInto(t, js, log)
			server.Shutdown()

			path := blockFile(t, dir)
			block, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, c.do(log, block), 0o600))

			server, err = embedded.Start(embedded.Config{Dir: dir, NoSync: true})
			require.NoError(t, err)
			t.Cleanup(server.Shutdown)
			r := run(t, openStream(t, embeddedtest.Connect(t, server), verify.Scope{To: c.to}), verify.Config{})
			t.Logf("%v", r.Problems)
			require.Equal(t, c.want, found(r)[:len(c.want)])
			require.Equal(t, len(c.want) == 0, r.OK)
		})
	}
}

// blockFile is the one file in which the server keeps the messages of the log.
func blockFile(t *testing.T, dir string) string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".blk") && strings.Contains(path, eventstore.StreamLog) {
			files = append(files, path)
		}
		return err
	}))
	require.Len(t, files, 1)
	return files[0]
}
