package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"closure/domain"
)

// maxClientsFile bounds the clients file, in bytes.
const maxClientsFile = 4 << 20

// clientsFile is the clients file:
//
//	clients:
//	  - id: 8f4ea31c-cc22-4d8c-a6ea-3a5a3e2c3b0a
//	    name: Broker
//	    scopes: [accounts:admin, orders:read]
//	    secrets:
//	      - sha256: 64 hex digits, as of: printf %s "$SECRET" | sha256sum
//	        valid_until: 2027-04-06T00:00:00Z # optional
//	    keys: # optional: then the client must sign
//	      - keyid: broker-2027
//	        pem: |
//	          -----BEGIN PUBLIC KEY-----
//	    rate: {per_second: 50, burst: 100} # optional
//	    disabled: false # optional
type clientsFile struct {
	Clients []fileClient `yaml:"clients"`
}

type fileClient struct {
	ID       string   `yaml:"id"`
	Name     string   `yaml:"name"`
	Scopes   []string `yaml:"scopes,flow"`
	Secrets  []Secret `yaml:"secrets,omitempty"`
	Keys     []Key    `yaml:"keys,omitempty"`
	Disabled bool     `yaml:"disabled,omitempty"`
	Rate     Rate     `yaml:"rate,omitempty"`
}

func readClientsFile(name string) ([]*entry, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("clients file: %w", err)
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxClientsFile+1))
	if err != nil {
		return nil, fmt.Errorf("clients file %s: %w", name, err)
	}
	all, err := parseClientsFile(data)
	if err != nil {
		return nil, fmt.Errorf("clients file %s: %w", name, err)
	}
	return all, nil
}

// parseClientsFile reads the file strictly. The error tells everything that is wrong with it.
func parseClientsFile(data []byte) ([]*entry, error) {
	if len(data) > maxClientsFile {
		return nil, fmt.Errorf("must be of at most %d bytes", maxClientsFile)
	}
	var file clientsFile
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	// A member that is not known, or of the wrong type, leaves the others readable: what is wrong with them is told as well.
	err := decoder.Decode(&file)
	var types *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("it is empty: must be clients: and a list")
	case err != nil && !errors.As(err, &types):
		return nil, err
	}
	errs := []error{err}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		errs = append(errs, errors.New("must be one YAML document, and nothing after it"))
	}
	all, seen := make([]*entry, 0, len(file.Clients)), map[string]int{}
	for i, one := range file.Clients {
		e, err := one.entry()
		if err != nil {
			errs = append(errs, fmt.Errorf("clients[%d]: %w", i, err))
			continue
		}
		if first, there := seen[e.ID]; there {
			errs = append(errs, fmt.Errorf("clients[%d]: id: %s is clients[%d] already", i, e.ID, first))
		}
		seen[e.ID] = i
		all = append(all, e)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

func (f fileClient) entry() (*entry, error) {
	var errs []error
	client := Client{ID: f.ID, Name: f.Name, Secrets: f.Secrets, Keys: f.Keys, Disabled: f.Disabled, Rate: f.Rate}
	for i, one := range f.Scopes {
		if !client.Scopes.add(Scope(one)) {
			errs = append(errs, fmt.Errorf("scopes[%d]: there is no scope %s", i, domain.Quote(one)))
		}
	}
	e, err := newEntry(client)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	e.file = true
	return e, nil
}

// FileEntry makes a client that is registered nowhere: the text of a clients file with it alone, and its secret, which is not
// kept. Errors: ErrInvalidClient.
func FileEntry(given NewClient, now time.Time) (text []byte, secret string, err error) {
	c, secret := given.client(now.UTC().Truncate(time.Second))
	e, err := newEntry(c)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalidClient, err)
	}
	text, err = yaml.Marshal(clientsFile{[]fileClient{{
		ID: e.ID, Name: e.Name, Scopes: strings.Fields(e.Scopes.String()), Secrets: e.Secrets, Rate: e.Rate,
	}}})
	return text, secret, err
}
