package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"closure/handlers/auth"
	"closure/projections/webhooks/signing"
)

// clientsCommand looks after the clients that may call the engine. They stand in NATS: no engine has to run, and all that run
// know of a change at once.
type clientsCommand struct {
	Add        clientsAdd       `cmd:"" help:"Register a client, and print its secret this once."`
	List       clientsList      `cmd:"" help:"List the registered clients; those of a clients file are not among them."`
	Rotate     clientsRotate    `cmd:"" help:"Give a client a new secret, and print it this once."`
	Disable    clientsDisable   `cmd:"" help:"Refuse a client, and the access tokens that it has, from now on."`
	Enable     clientsEnable    `cmd:"" help:"Accept a client again, and the access tokens that it has."`
	AddKey     clientsAddKey    `cmd:"" name:"add-key" help:"Register a public key of a client: from now on it must sign its requests."`
	RotateKeys clientsKeys      `cmd:"" name:"rotate-keys" help:"Put a new key in front of the engines' keys, which access tokens are signed with."`
	RemoveKey  clientsRemoveKey `cmd:"" name:"remove-key" help:"Remove a key. Without one the client need not sign."`
}

// clientsKeys rotates the keys of access tokens. With an overlap shorter than the life of a token, tokens end with the key before.
type clientsKeys struct{ keysRotation }

func (c clientsKeys) Run(ctx context.Context, std streams) error {
	return c.rotate(ctx, std, signing.ForTokens)
}

// registryFlags are those of every clients command.
type registryFlags struct {
	connection
	JSON bool `name:"json" help:"Print JSON: one line a client."`
}

// with opens the registry for a command.
func (c registryFlags) with(ctx context.Context, do func(context.Context, *auth.Clients) error) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	clients := auth.NewClients(auth.ClientsConfig{Conn: conn})
	if err := clients.Start(ctx); err != nil {
		return err
	}
	err = do(ctx, clients)
	if errors.Is(err, auth.ErrInvalidClient) {
		err = usageError{err}
	}
	return errors.Join(err, clients.Stop(ctx))
}

// ofClient is the client that a command is about.
type ofClient struct {
	registryFlags
	ID uuidText `arg:"" help:"The client's id (uuid)."`
}

// change makes a change, and prints what the client is then.
func (c ofClient) change(ctx context.Context, out io.Writer, f func(ctx context.Context, clients *auth.Clients, id string) (auth.Client, string, error)) error {
	return c.with(ctx, func(ctx context.Context, clients *auth.Clients) error {
		client, secret, err := f(ctx, clients, string(c.ID))
		if err != nil {
			return err
		}
		return c.print(out, client, secret)
	})
}

type clientsAdd struct {
	registryFlags
	Name    string   `required:"" help:"What people call it."`
	ID      uuidText `placeholder:"UUID" help:"Its id: the tenant. Defaults to a new one."`
	Scope   []string `placeholder:"SCOPE" help:"What it may do, such as accounts:admin; several with commas, or the flag again. Defaults to everything but tests:admin."`
	Rate    float64  `placeholder:"N" help:"How many requests a second it may make. Defaults to what the engine says."`
	Burst   int      `placeholder:"N" help:"How many it may make at once. Defaults to what the engine says."`
	ForFile bool     `name:"for-file" help:"Register nothing: print a clients file with it, and its secret on the standard error output."`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c clientsAdd) Validate() error {
	if c.Rate < 0 || math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0) {
		return fmt.Errorf("--rate: must be more than 0, or 0 for the default, got %g", c.Rate)
	}
	if c.Burst < 0 {
		return fmt.Errorf("--burst: must be 1 or more, or 0 for the default, got %d", c.Burst)
	}
	_, err := c.scopes()
	return err
}

func (c clientsAdd) scopes() (auth.Set, error) {
	if len(c.Scope) == 0 {
		return ordinaryScopes(), nil
	}
	set, err := auth.ParseSet(strings.Join(c.Scope, " "))
	if err != nil {
		all := auth.NewSet(auth.Scopes()...)
		return set, fmt.Errorf("--scope: %w; they are %s", err, strings.ReplaceAll(all.String(), " ", ", "))
	}
	return set, nil
}

// ordinaryScopes are all but the one that moves the clock of a sandbox.
func ordinaryScopes() auth.Set {
	var out []auth.Scope
	for _, one := range auth.Scopes() {
		if one != auth.TestsAdmin {
			out = append(out, one)
		}
	}
	return auth.NewSet(out...)
}

func (c clientsAdd) Run(ctx context.Context, std streams) error {
	scopes, err := c.scopes()
	if err != nil {
		return usageError{err}
	}
	client := auth.NewClient{ID: string(c.ID), Name: c.Name, Scopes: scopes, Rate: auth.Rate{PerSecond: c.Rate, Burst: c.Burst}}
	if c.ForFile {
		return c.forFile(std, client)
	}
	return c.with(ctx, func(ctx context.Context, clients *auth.Clients) error {
		added, secret, err := clients.Add(ctx, client)
		if err != nil {
			return err
		}
		return c.print(std.out, added, secret)
	})
}

// forFile prints what goes into a file apart from what does not.
func (c clientsAdd) forFile(std streams, client auth.NewClient) error {
	text, secret, err := auth.FileEntry(client, time.Now())
	if err != nil {
		return usageError{err}
	}
	if _, err := std.out.Write(text); err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.err, "secret, shown this once:", secret)
	return err
}

type clientsList struct{ registryFlags }

func (c clientsList) Run(ctx context.Context, std streams) error {
	return c.with(ctx, func(_ context.Context, clients *auth.Clients) error {
		all := clients.List()
		if !c.JSON {
			return printClients(std.out, all)
		}
		for _, client := range all {
			if err := printJSON(std.out, viewOf(client, "")); err != nil {
				return err
			}
		}
		return nil
	})
}

type clientsRotate struct {
	ofClient
	Overlap time.Duration `default:"24h" help:"How long the secret before, and the access tokens got with it, stay valid. 0s ends them now."`
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c clientsRotate) Validate() error {
	if c.Overlap < 0 {
		return fmt.Errorf("--overlap: must be 0s or more, got %s", c.Overlap)
	}
	return nil
}

func (c clientsRotate) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std.out, func(ctx context.Context, clients *auth.Clients, id string) (auth.Client, string, error) {
		return clients.Rotate(ctx, id, c.Overlap)
	})
}

type clientsDisable struct{ ofClient }

func (c clientsDisable) Run(ctx context.Context, std streams) error { return c.set(ctx, std, true) }

type clientsEnable struct{ ofClient }

func (c clientsEnable) Run(ctx context.Context, std streams) error { return c.set(ctx, std, false) }

func (c ofClient) set(ctx context.Context, std streams, disabled bool) error {
	return c.change(ctx, std.out, func(ctx context.Context, clients *auth.Clients, id string) (auth.Client, string, error) {
		client, err := clients.SetDisabled(ctx, id, disabled)
		return client, "", err
	})
}

type clientsAddKey struct {
	ofClient
	File  string `arg:"" placeholder:"FILE.pem" help:"The public key in PEM, or - for the standard input: Ed25519, or ECDSA on P-256, P-384 or P-521."`
	KeyID string `name:"keyid" required:"" help:"How the client names it in its signatures."`
}

func (c clientsAddKey) Run(ctx context.Context, std streams) error {
	key, err := c.key(std.in)
	if err != nil {
		return err
	}
	return c.change(ctx, std.out, func(ctx context.Context, clients *auth.Clients, id string) (auth.Client, string, error) {
		client, err := clients.AddKey(ctx, id, key)
		return client, "", err
	})
}

func (c clientsAddKey) key(stdin io.Reader) (auth.Key, error) {
	const most = 64 << 10 // bytes; a key has some hundred
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return auth.Key{}, err
		}
		defer func() { _ = file.Close() }()
		stdin = file
	}
	text, err := io.ReadAll(io.LimitReader(stdin, most))
	return auth.Key{KeyID: c.KeyID, PEM: string(text)}, err
}

type clientsRemoveKey struct {
	ofClient
	KeyID string `arg:"" name:"keyid" help:"How the client names it in its signatures."`
}

func (c clientsRemoveKey) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std.out, func(ctx context.Context, clients *auth.Clients, id string) (auth.Client, string, error) {
		client, err := clients.RemoveKey(ctx, id, c.KeyID)
		return client, "", err
	})
}

// clientView is a client as it is printed for a program: without hashes, and with its secret when it is new.
type clientView struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Scopes    auth.Set     `json:"scopes"`
	Disabled  bool         `json:"disabled"`
	Secret    string       `json:"secret,omitempty"`
	Secrets   []secretView `json:"secrets"`
	Keys      []keyView    `json:"keys"`
	Rate      auth.Rate    `json:"rate"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
}

type secretView struct {
	CreatedAt  time.Time  `json:"created_at"`
	ValidUntil *time.Time `json:"valid_until"`
}

type keyView struct {
	KeyID     string `json:"keyid"`
	Algorithm string `json:"algorithm"`
}

func viewOf(c auth.Client, secret string) clientView {
	v := clientView{
		ID: c.ID, Name: c.Name, Scopes: c.Scopes, Disabled: c.Disabled, Secret: secret, Secrets: []secretView{}, Keys: []keyView{}, Rate: c.Rate,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
	for _, one := range c.Secrets {
		v.Secrets = append(v.Secrets, secretView{one.CreatedAt, one.ValidUntil})
	}
	for _, key := range c.Keys {
		v.Keys = append(v.Keys, keyView{key.KeyID, key.Algorithm})
	}
	return v
}

// print prints a client, and its secret if it has got one.
func (c registryFlags) print(w io.Writer, client auth.Client, secret string) error {
	if c.JSON {
		return printJSON(w, viewOf(client, secret))
	}
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%-8s %s\n", name, printable(value)) }
	line("client", client.ID)
	line("name", client.Name)
	line("state", clientState(client))
	line("scopes", client.Scopes.String())
	for _, key := range client.Keys {
		line("key", key.KeyID+" ("+key.Algorithm+")")
	}
	if secret != "" {
		line("secret", secret+"   shown this once")
		for _, old := range client.Secrets[1:] {
			line("", "the one before ends "+stamp(old.ValidUntil))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func clientState(c auth.Client) string {
	if c.Disabled {
		return "disabled"
	}
	return "enabled"
}

func printClients(w io.Writer, all []auth.Client) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(all) > 0 {
		_, _ = fmt.Fprintln(table, "ID\tNAME\tSTATE\tKEYS\tSECRET OF\tSCOPES")
	}
	for _, c := range all {
		since := "-"
		if len(c.Secrets) > 0 {
			since = stamp(&c.Secrets[0].CreatedAt)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", c.ID, printable(c.Name), clientState(c), len(c.Keys), since, c.Scopes)
	}
	if err := table.Flush(); err != nil { // also of the lines above
		return err
	}
	_, err := fmt.Fprintf(w, "%d clients\n", len(all))
	return err
}
