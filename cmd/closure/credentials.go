package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"closure/eventstore/access"
)

// credentialsFolder in the data folder holds the nkeys of the embedded server's users: one file a role, with its seed, for the
// eyes of the owner only. Whoever is to connect gets the file of its role.
const credentialsFolder = "credentials"

func credentialFile(data, role string) string {
	return roleFile(filepath.Join(data, credentialsFolder), role)
}

func roleFile(folder, role string) string { return filepath.Join(folder, role+".nk") }

func makePrivate(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	return nil
}

// natsAccess is what the embedded server lets the roles do, as its configuration has it. Keys that are missing are made; one that is
// deleted is a new one at the next start.
func natsAccess(data string) (string, error) {
	keys, err := roleKeys(filepath.Join(data, credentialsFolder))
	if err != nil {
		return "", err
	}
	return access.ServerConfig(keys), nil
}

// roleKey is the public half of the key in a file.
func roleKey(file string) (string, error) {
	seed, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return newRoleKey(file)
	}
	if err != nil {
		return "", fmt.Errorf("credentials: %w", err)
	}
	pair, err := nkeys.ParseDecoratedUserNKey(seed)
	if err != nil {
		return "", fmt.Errorf("credentials: %s is not the seed of a user's nkey; delete it, and a new one is made: %w", file, err)
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

func newRoleKey(file string) (string, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", fmt.Errorf("credentials: %w", err)
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return "", fmt.Errorf("credentials: %w", err)
	}
	if err := os.WriteFile(file, append(seed, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("credentials: %w", err)
	}
	return pair.PublicKey()
}

// natsAuth are the flags by which a command shows NATS who it is.
type natsAuth struct {
	Creds string `name:"nats-creds" type:"path" placeholder:"FILE" help:"A credentials file (JWT and seed) for NATS."`
	NKey  string `name:"nats-nkey" type:"path" placeholder:"FILE" help:"A file with the seed of an nkey for NATS."`
	CA    string `name:"nats-tls-ca" type:"path" placeholder:"FILE" help:"The certificates (PEM) of those who sign the servers' certificates. Defaults to the system's."`
	Cert  string `name:"nats-tls-cert" type:"path" placeholder:"FILE" help:"A certificate (PEM) to show to the NATS servers."`
	Key   string `name:"nats-tls-key" type:"path" placeholder:"FILE" help:"The key (PEM) of --nats-tls-cert."`
	// InboxPrefix is fixed by the role for those that may read no other.
	InboxPrefix string `name:"nats-inbox-prefix" placeholder:"SUBJECT" help:"What the subjects of answers begin with, where the permissions say so: _INBOX.audit, for example."`
}

// problems are what is wrong with the flags.
func (a natsAuth) problems() (found []error) {
	if a.Creds != "" && a.NKey != "" {
		found = append(found, errors.New("--nats-creds: not together with --nats-nkey: a connection has one user"))
	}
	if (a.Cert == "") != (a.Key == "") {
		found = append(found, errors.New("--nats-tls-cert: goes together with --nats-tls-key"))
	}
	for _, f := range []struct{ flag, file string }{
		{"--nats-creds", a.Creds}, {"--nats-nkey", a.NKey}, {"--nats-tls-ca", a.CA}, {"--nats-tls-cert", a.Cert}, {"--nats-tls-key", a.Key},
	} {
		if f.file == "" {
			continue
		}
		if info, err := os.Stat(f.file); err != nil || info.IsDir() {
			found = append(found, fmt.Errorf("%s: there is no file %s", f.flag, f.file))
		}
	}
	return found
}

// given tells whether the flags name a user.
func (a natsAuth) given() bool { return a.Creds != "" || a.NKey != "" || a.Cert != "" }

// options of the connection.
func (a natsAuth) options() ([]nats.Option, error) {
	var options []nats.Option
	if a.Creds != "" {
		options = append(options, nats.UserCredentials(a.Creds))
	}
	if a.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(a.NKey)
		if err != nil {
			return nil, fmt.Errorf("--nats-nkey: %s is not the seed of a user's nkey: %w", a.NKey, err)
		}
		options = append(options, option)
	}
	if a.CA != "" {
		options = append(options, nats.RootCAs(a.CA))
	}
	if a.Cert != "" {
		options = append(options, nats.ClientCert(a.Cert, a.Key))
	}
	if a.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(a.InboxPrefix))
	}
	return options, nil
}

// orEngine is who a command is on the machine of an embedded server, when nothing says who it is: the engine, if the data
// folder is there and may be read.
func (a natsAuth) orEngine(data string) natsAuth {
	file := credentialFile(data, access.Engine)
	if a.given() || data == "" {
		return a
	}
	if f, err := os.Open(file); err == nil {
		_ = f.Close() // it was only looked at
		a.NKey = file
	}
	return a
}
