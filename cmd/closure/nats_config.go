package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nkeys"

	"closure/eventstore/access"
)

// natsConfigCommand prints the accounts and users of a cluster as a NATS server's configuration has them: what they may do is what
// the embedded server lets them, the keys are those of a folder.
type natsConfigCommand struct {
	Keys string `type:"path" default:"./nats-credentials" placeholder:"FOLDER" help:"Where the roles' keys are, or are made: <role>.nk, each with a seed that only its role may have."`
	Out  string `type:"path" placeholder:"FILE" help:"Write it to a file, for the servers to include."`
}

func (c natsConfigCommand) Run(std streams) error {
	keys, err := roleKeys(c.Keys)
	if err != nil {
		return err
	}
	if c.Out != "" {
		err = os.WriteFile(c.Out, []byte(access.ServerConfig(keys)), 0o644) // it holds public keys only
	} else {
		_, err = fmt.Fprint(std.out, access.ServerConfig(keys))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.err, "The keys are in %s: run the engines with --nats-nkey %s\n", c.Keys, roleFile(c.Keys, access.Engine))
	return err
}

// roleKeys are the public keys of the roles. Those that are missing are made.
func roleKeys(folder string) (map[string]string, error) {
	if err := makePrivate(folder); err != nil {
		return nil, err
	}
	keys := map[string]string{}
	for _, role := range access.Roles() {
		key, err := roleKey(roleFile(folder, role.Name))
		if err != nil {
			return nil, err
		}
		if !nkeys.IsValidPublicUserKey(key) {
			return nil, fmt.Errorf("credentials: %s is not the key of a user", roleFile(folder, role.Name))
		}
		keys[role.Name] = key
	}
	return keys, nil
}
