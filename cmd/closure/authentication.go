package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"closure/domain"
	"closure/handlers/auth"
	"closure/projections/webhooks/signing"
)

// problems are what is wrong with the settings, all at once.
func (s settings) problems() (found []error) {
	if s.NATSURL == "" {
		if err := checkAddr("--nats-addr", s.NATSAddr); err != nil {
			found = append(found, err)
		} else if !loopback(s.NATSAddr) {
			found = append(found, fmt.Errorf("--nats-addr: the embedded server listens on a loopback address such as 127.0.0.1 only, got %q; "+
				"for more than one machine run NATS servers, and name them with --nats-url", s.NATSAddr))
		}
	}
	if s.OpsAddr != "" {
		if err := checkAddr("--ops-addr", s.OpsAddr); err != nil {
			found = append(found, err)
		}
	}
	if err := checkAddr("--http-addr", s.HTTPAddr); err != nil {
		return append(found, err)
	}
	if !s.reachable() {
		return found
	}
	if !loopback(s.HTTPAddr) && s.TLSCert == "" && !s.BehindProxy {
		found = append(found, fmt.Errorf("--http-addr: %q can be reached by others: it needs --tls-cert and --tls-key, or --behind-proxy when "+
			"a proxy in front of it speaks TLS; or take a loopback address such as 127.0.0.1", s.HTTPAddr))
	}
	if s.Sandbox {
		found = append(found, errors.New("--sandbox: only with a loopback --http-addr, and not behind a proxy"))
	}
	return found
}

// reachable tells whether others can reach HTTP: by its address, or through a proxy on this machine.
func (s settings) reachable() bool { return s.BehindProxy || !loopback(s.HTTPAddr) }

func checkAddr(flag, addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("%s: must be host:port such as 127.0.0.1:0, got %q", flag, addr)
	}
	return nil
}

// loopback tells whether nobody on another machine can reach the address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// startAuth starts what tells who makes a request.
func (a *app) startAuth(ctx context.Context, s settings) error {
	tokens := signing.New(signing.Config{Log: a.log, Entry: signing.ForTokens, Replicas: s.Replicas, Logger: s.Logger})
	if err := a.add(ctx, tokens); err != nil {
		return err
	}
	a.auth = auth.New(auth.Config{
		Conn: a.log.Conn(), Replicas: s.Replicas, ClientsFile: s.ClientsFile, Keys: tokens, Issuer: s.Issuer, Logger: s.Logger,
	})
	if err := a.add(ctx, a.auth); err != nil {
		return err
	}
	if s.reachable() && s.Issuer.URL == "" && len(a.others()) == 0 {
		return usageError{fmt.Errorf("--http-addr: %q, or the proxy in front of it, can be reached by others, and there are no clients yet: add one with 'closure clients add' "+
			"while the engine listens on a loopback address, or name a --clients-file or an --auth-issuer", s.HTTPAddr)}
	}
	return nil
}

// others are the clients but the development client.
func (a *app) others() (clients []auth.Client) {
	for _, c := range a.auth.Clients().List() {
		if c.ID != developmentClient {
			clients = append(clients, c)
		}
	}
	return clients
}

// developmentClient is a client that a fresh engine on one machine makes, so that it can be tried at once.
var developmentClient = domain.DeriveID("development client")

// developer is who the development client is, for whoever starts the engine.
type developer struct {
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret"`
	// Token is an access token, good for an hour.
	Token string `json:"access_token,omitempty"`
}

// developmentFile has the secret of the development client.
func developmentFile(data string) string {
	return filepath.Join(data, credentialsFolder, "development.json")
}

// develop gives the development client: nil when there are other clients, when the engine can be reached by others, or when it
// is one of many. With other clients it is disabled.
func (a *app) develop(ctx context.Context, s settings) (*developer, error) {
	own := s.NATSURL == "" && !s.reachable() && s.ClientsFile == "" && s.Issuer.URL == "" && len(a.others()) == 0
	known, there := a.auth.Clients().Get(developmentClient)
	if !own {
		if there && !known.Disabled {
			s.Logger.Info("the development client is disabled, since there are others", "client_id", developmentClient)
			_, err := a.auth.Clients().SetDisabled(ctx, developmentClient, true)
			return nil, err
		}
		return nil, nil
	}
	d, err := readDeveloper(s.Data)
	switch {
	case err != nil:
		return nil, err
	case !there:
		_, d.Secret, err = a.auth.Clients().Add(ctx, auth.NewClient{
			ID: developmentClient, Name: "development", Scopes: auth.NewSet(auth.Scopes()...),
		})
	case d.Secret == "":
		_, d.Secret, err = a.auth.Clients().Rotate(ctx, developmentClient, 0)
	}
	if err == nil && known.Disabled {
		_, err = a.auth.Clients().SetDisabled(ctx, developmentClient, false)
	}
	if err != nil {
		return nil, fmt.Errorf("the development client: %w", err)
	}
	if err := writeDeveloper(s.Data, d); err != nil {
		return nil, err
	}
	token, err := a.auth.Token(ctx, developmentClient, d.Secret, "")
	if err != nil {
		return nil, fmt.Errorf("the development client: %w (delete %s, and it gets a new secret)", err, developmentFile(s.Data))
	}
	d.Token = token.AccessToken
	return &d, nil
}

func readDeveloper(data string) (developer, error) {
	d := developer{ClientID: developmentClient}
	content, err := os.ReadFile(developmentFile(data))
	if errors.Is(err, os.ErrNotExist) {
		return d, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &d)
	}
	if err != nil {
		return d, fmt.Errorf("the development client: %s: %w (delete it, and there is a new one)", developmentFile(data), err)
	}
	return d, nil
}

func writeDeveloper(data string, d developer) error {
	content, err := json.Marshal(developer{ClientID: d.ClientID, Secret: d.Secret})
	if err != nil {
		return err
	}
	return os.WriteFile(developmentFile(data), append(content, '\n'), 0o600)
}
