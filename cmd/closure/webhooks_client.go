package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"closure/domain"
)

// webhookClient calls the engine's HTTP API in the name of a client. Its flags are those of every webhooks command.
type webhookClient struct {
	URL      string        `name:"url" default:"http://127.0.0.1:8080" help:"Where the HTTP of the engine listens."`
	ClientID uuidText      `name:"client-id" required:"" placeholder:"ID" help:"The client (uuid) whose webhooks they are."`
	Secret   string        `name:"client-secret" placeholder:"SECRET" help:"A secret of the client, by which it gets an access token. Better in the environment than on the command line."`
	Token    string        `name:"token" placeholder:"TOKEN" help:"An access token of the client, in the place of a secret."`
	Data     string        `default:"./closure-data" placeholder:"FOLDER" help:"The data folder of an engine on this machine, which has the secret of its development client."`
	Timeout  time.Duration `default:"60s" help:"How long to wait for the answer."`
	JSON     bool          `name:"json" help:"Print JSON: one line an item, or one line."`
}

// uuidText is an id on the command line, in its stored form.
type uuidText string

// UnmarshalText reads a uuid.
func (u *uuidText) UnmarshalText(text []byte) error {
	id, err := domain.ParseID(string(text))
	*u = uuidText(id)
	return err
}

// Validate is called by kong: a wrong flag is a wrong use.
func (c webhookClient) Validate() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("--url: must be http://host:port") // not what it is: there may be a password in it
	}
	return nil
}

// call makes a request, and gives the body of a success. body may be nil.
func (c webhookClient) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	token, err := c.token(ctx)
	if err != nil {
		return nil, err
	}
	var data []byte
	if body != nil {
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.at(path), bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	r.Header.Set("upvest-client-id", string(c.ClientID))
	r.Header.Set("accept", "application/json")
	if token != "" {
		r.Header.Set("authorization", "Bearer "+token)
	}
	if body != nil {
		r.Header.Set("content-type", "application/json")
	}
	return c.send(r)
}

func (c webhookClient) at(path string) string { return strings.TrimSuffix(c.URL, "/") + path }

// token is the access token of the client: the one that was given, or what its secret gives. "" when there is neither: then the
// engine says what is missing.
func (c webhookClient) token(ctx context.Context) (string, error) {
	if c.Token != "" {
		return c.Token, nil
	}
	secret := c.Secret
	if secret == "" && string(c.ClientID) == developmentClient {
		d, err := readDeveloper(c.Data)
		if err != nil {
			return "", err
		}
		secret = d.Secret
	}
	if secret == "" {
		return "", nil
	}
	form := url.Values{"client_id": {string(c.ClientID)}, "client_secret": {secret}, "grant_type": {"client_credentials"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.at("/auth/token"), strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("content-type", "application/x-www-form-urlencoded")
	answer, err := c.send(r)
	if err != nil {
		return "", err
	}
	var got struct {
		AccessToken string `json:"access_token"`
	}
	err = decodeAnswer(answer, &got)
	return got.AccessToken, err
}

// send gives the body of a success.
func (c webhookClient) send(r *http.Request) ([]byte, error) {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("no answer (is 'closure serve' running there?): %w", err) // http leaves passwords out of it
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if res.StatusCode/100 != 2 {
		return nil, refusal(res.StatusCode, answer)
	}
	return bytes.TrimRight(answer, "\n"), nil
}

// refusal is the problem as an error. What was asked for wrongly is a wrong use.
func refusal(status int, answer []byte) error {
	var p struct {
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(answer, &p); err != nil || p.Status != status || p.Detail == "" {
		return fmt.Errorf("it answers %d, and not as closure does: is this the HTTP of an engine?", status)
	}
	err := errors.New(printable(p.Detail))
	switch {
	case status == http.StatusBadRequest:
		return usageError{err}
	case status >= http.StatusInternalServerError:
		return fmt.Errorf("%w (request %s)", err, printable(p.RequestID))
	}
	return err
}

func decodeAnswer(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	return nil
}

// listPage is the envelope of every list.
type listPage[T any] struct {
	Meta struct {
		TotalCount int `json:"total_count"`
	} `json:"meta"`
	Data []T `json:"data"`
}

// printItems prints the items of a list as they came, one a line.
func printItems(w io.Writer, raw []byte) error {
	var page listPage[json.RawMessage]
	if err := decodeAnswer(raw, &page); err != nil {
		return err
	}
	for _, item := range page.Data {
		if _, err := fmt.Fprintf(w, "%s\n", item); err != nil {
			return err
		}
	}
	return nil
}
