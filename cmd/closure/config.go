package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFlag names the file with the settings of 'closure serve', in YAML: the name of each flag with its value. A flag counts
// before the environment, the environment before the file.
const (
	configFlag = "config"
	configEnv  = "CLOSURE_CONFIG"
	// maxConfig bounds the file, in bytes.
	maxConfig = 1 << 20
)

// configure takes the settings of the file and of the environment before the command line is read, and says all that is wrong
// with them at once. It does nothing for commands other than serve.
func configure(app *kong.Application, args []string) error {
	if len(args) == 0 || args[0] != "serve" {
		return nil
	}
	serve := slices.IndexFunc(app.Children, func(n *kong.Node) bool { return n.Name == "serve" })
	flags := map[string]*kong.Flag{}
	for _, f := range app.Children[serve].Flags {
		flags[f.Name] = f
	}
	path := configPath(args)
	found := configureFromFile(path, flags)
	for _, f := range flags {
		for _, env := range f.Envs {
			if value, set := os.LookupEnv(env); set {
				if err := tryValue(f, value); err != nil {
					found = append(found, fmt.Errorf("%s: %w", env, err))
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(found...)
}

// configPath is the file that the arguments or the environment name; "" for none.
func configPath(args []string) string {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--"+configFlag+"="); ok {
			return value
		}
		if arg == "--"+configFlag && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv(configEnv)
}

// configureFromFile makes the values of the file the defaults of the flags.
func configureFromFile(path string, flags map[string]*kong.Flag) (found []error) {
	if path == "" {
		return nil
	}
	settings, err := readConfig(path)
	if err != nil {
		return []error{fmt.Errorf("--%s: %w", configFlag, err)}
	}
	for name, node := range settings {
		f := flags[name]
		if f == nil || name == configFlag || name == "help" {
			found = append(found, fmt.Errorf("%s: line %d: there is no setting %q; the names are those of the flags of 'closure serve'", path, node.Line, name))
			continue
		}
		value, err := textOf(node)
		if err == nil {
			err = tryValue(f, value)
		}
		if err != nil {
			found = append(found, fmt.Errorf("%s: line %d: %w", path, node.Line, err))
			continue
		}
		f.Default, f.HasDefault = value, true
	}
	return found
}

func readConfig(path string) (map[string]yaml.Node, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxConfig {
		return nil, fmt.Errorf("%s: is over %d bytes", path, maxConfig)
	}
	settings := map[string]yaml.Node{}
	if err := yaml.NewDecoder(bytes.NewReader(content)).Decode(&settings); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: must be YAML, a name and a value on each line: %w", path, err)
	}
	return settings, nil
}

// textOf is a value as it would stand on the command line: a scalar, or several with commas.
func textOf(node yaml.Node) (string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		return node.Value, nil
	case yaml.SequenceNode:
		var parts []string
		for _, item := range node.Content {
			part, err := textOf(*item)
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("must be one value, or a list of them")
}

// tryValue tells whether a flag takes the value. It does not say what the value is: it may be a secret.
func tryValue(f *kong.Flag, value string) error {
	scan := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: value})
	target := reflect.New(f.Target.Type()).Elem()
	if err := f.Mapper.Decode(&kong.DecodeContext{Value: f.Value, Scan: scan}, target); err != nil {
		return fmt.Errorf("--%s does not take it: %w", f.Name, err)
	}
	return nil
}
