package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"closure/eventstore/access"
)

// compose is what the tests look at of docker-compose.yml.
type compose struct {
	Services map[string]struct {
		Command     []string          `yaml:"command"`
		Environment map[string]string `yaml:"environment"`
		Volumes     []string          `yaml:"volumes"`
		Configs     []struct {
			Source string `yaml:"source"`
		} `yaml:"configs"`
	} `yaml:"services"`
	Configs map[string]struct {
		Content string `yaml:"content"`
	} `yaml:"configs"`
	Volumes map[string]any `yaml:"volumes"`
}

// No container runs in the tests; but the compose file names settings, files and volumes that there are.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	content, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	require.NoError(t, err)
	var file compose
	require.NoError(t, yaml.Unmarshal(content, &file))
	require.Len(t, file.Services, 8)

	var c cli
	parser, err := newParser(context.Background(), &c, streams{}, func() {})
	require.NoError(t, err)
	var known []string
	for _, command := range parser.Model.Children {
		for _, flag := range command.Flags {
			known = append(known, flag.Envs...)
		}
	}
	for name, service := range file.Services {
		for variable := range service.Environment {
			if strings.HasPrefix(variable, "CLOSURE_") {
				require.True(t, slices.Contains(known, variable), "%s: there is no setting %s", name, variable)
			}
		}
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, "./") {
				require.FileExists(t, filepath.Join(root, source))
				continue
			}
			require.Contains(t, file.Volumes, source, name)
		}
		for _, config := range service.Configs {
			require.Contains(t, file.Configs, config.Source, name)
		}
	}
	_, err = parser.Parse(file.Services["keys"].Command)
	require.NoError(t, err)

	// The configuration of the servers is one that they take, where the containers have it, with the users that the first of them makes.
	machine := t.TempDir()
	code, _, stderr := once(t, "", "nats-config", "--keys", filepath.Join(machine, "keys"), "--out", filepath.Join(machine, "keys", "users.conf"))
	require.Equal(t, exitDone, code, stderr)
	require.NoError(t, os.MkdirAll(filepath.Join(machine, "etc", "nats"), 0o700))
	conf := filepath.Join(machine, "etc", "nats", "nats.conf")
	require.NoError(t, os.WriteFile(conf, []byte(file.Configs["nats"].Content), 0o600))
	options, err := server.ProcessConfigFile(conf)
	require.NoError(t, err)
	require.True(t, options.JetStream)
	require.True(t, options.SyncAlways)
	require.Len(t, options.Nkeys, len(access.Roles()))
	require.Len(t, options.Accounts, 3, "of the engine and downstream, of upstream, of audit")
	require.Len(t, options.Routes, 3)
	require.EqualValues(t, 8<<20, options.MaxPayload)
}
