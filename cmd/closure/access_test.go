package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/eventstore/access"
)

// printed waits for what the program prints for people.
func printed(t *testing.T, s *serving) string {
	t.Helper()
	var text strings.Builder
	for chunk := make([]byte, 4096); !strings.Contains(text.String(), "Ctrl-C"); {
		n, err := s.out.Read(chunk)
		require.NoError(t, err, s.logs.String())
		text.Write(chunk[:n])
	}
	go func() { _, _ = io.Copy(io.Discard, s.out) }()
	return text.String()
}

// A fresh engine can be tried at once: what it prints works.
func TestDevelopmentClient(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := beginSpeaking(data)
	t.Cleanup(func() { s.stop() })
	line := regexp.MustCompile(`curl -H 'upvest-client-id: (\S+)' -H 'authorization: (Bearer \S+)' (http://\S+)`).FindStringSubmatch(printed(t, s))
	require.Len(t, line, 4)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, line[3], nil)
	require.NoError(t, err)
	r.Header.Set("upvest-client-id", line[1])
	r.Header.Set("authorization", line[2])
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, exitDone, s.stop())

	// Its secret is for the owner's eyes only, and in no log.
	var known developer
	content, err := os.ReadFile(developmentFile(data))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &known))
	require.NotEmpty(t, known.Secret)
	require.NotContains(t, s.logs.String(), known.Secret)
	for _, file := range []string{developmentFile(data), credentialFile(data, access.Engine)} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm(), file)
	}

	// It is the same after a restart, and gets a new secret when that is lost.
	again := serve(t, data)
	require.Equal(t, known.Secret, again.Development.Secret)
	client := uuid.NewString()
	again.caller(t, client)
	require.Equal(t, exitDone, again.stop())
	require.NoError(t, os.Remove(developmentFile(data)))

	// With a real client there it goes.
	third := serve(t, data)
	require.Nil(t, third.Development)
	code, out, stderr := once(t, "", append([]string{"clients", "list", "--json"}, third.at()...)...)
	require.Equal(t, exitDone, code, stderr)
	for line := range strings.Lines(out) {
		var c struct {
			ID       string `json:"id"`
			Disabled bool   `json:"disabled"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		require.Equal(t, c.ID != client, c.Disabled, line)
	}
}

// An engine that others can reach needs clients, and TLS or a proxy that speaks it.
func TestOpenToTheNetwork(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	cert, key, pool := newCertificate(t)
	flags := []string{"serve", "--http-addr", "0.0.0.0:0", "--nats-addr", "127.0.0.1:0", "--data", data}
	for says, more := range map[string][]string{
		"it needs --tls-cert and --tls-key, or --behind-proxy": nil,
		"--tls-cert: goes together with --tls-key":             {"--tls-cert", cert},
		"there are no clients yet":                             {"--tls-cert", cert, "--tls-key", key},
		"only with a loopback --http-addr":                     {"--tls-cert", cert, "--tls-key", key, "--sandbox"},
		"goes together with --auth-jwks-url":                   {"--behind-proxy", "--auth-issuer", "https://issuer.example"},
	} {
		code, _, stderr := once(t, "", append(flags, more...)...)
		require.Equal(t, exitUsage, code, stderr)
		require.Contains(t, stderr, says)
	}
	code, _, stderr := once(t, "", append(flags, "--behind-proxy")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "there are no clients yet")

	code, _, stderr = once(t, "", "serve", "--http-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0", "--data", data, "--behind-proxy")
	require.Equal(t, exitUsage, code, "a proxy on this machine opens it, too")
	require.Contains(t, stderr, "there are no clients yet")

	first := serve(t, data)
	client := uuid.NewString()
	c := first.caller(t, client)
	require.Equal(t, exitDone, first.stop())
	s := serve(t, data, "--http-addr", "0.0.0.0:0", "--tls-cert", cert, "--tls-key", key)
	require.Nil(t, s.Development)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.HTTP, "https://"))
	require.NoError(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	get := func(authorize bool) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:"+port+"/accounts", nil)
		require.NoError(t, err)
		r.Header.Set("upvest-client-id", client)
		if authorize {
			c.identify(r)
		}
		res, err := (&http.Client{Transport: transport}).Do(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res
	}
	require.Equal(t, http.StatusUnauthorized, get(false).StatusCode)
	res := get(true)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, 2, res.ProtoMajor)
	// It does not speak less than TLS 1.2.
	_, err = tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	require.Error(t, err)

	// A certificate that is renewed is taken without a restart.
	renewed, renewedKey, renewedPool := newCertificate(t)
	copyFile(t, renewedKey, key)
	copyFile(t, renewed, cert)
	later := time.Now().Add(time.Minute) // the clock of files may be coarse
	require.NoError(t, os.Chtimes(cert, later, later))
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: renewedPool, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

// newCertificate makes a certificate for 127.0.0.1 and its key, and gives the pool that trusts it.
func newCertificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(cert, certPEM, 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	pool = x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certPEM))
	return cert, key, pool
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, content, 0o600))
}

// The roles of the embedded server are enough for what the commands do, and for no more.
func TestCommandsAsRoles(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	group, client := uuid.NewString(), uuid.NewString()
	as := func(role string, args ...string) (int, string) {
		code, out, stderr := once(t, "", append(args, "--nats-url", s.NATS, "--data", "", "--timeout", "2s",
			"--nats-nkey", credentialFile(s.Data, role), "--nats-inbox-prefix", access.Inbox(role))...)
		return code, out + stderr
	}
	open := []string{"send", "account_group", group, "open", `{"users":[{"id":"` + uuid.NewString() + `","type":"OWNER"}],"type":"PERSONAL"}`, "--client-id", client}
	code, text := as(access.Audit, open...)
	require.Equal(t, exitFailed, code, text)
	code, text = as(access.Upstream, open...)
	require.Equal(t, exitDone, code, text)
	code, text = as(access.Upstream, append(open, "--durable")...)
	require.Equal(t, exitDone, code, text)
	for _, command := range [][]string{{"verify"}, {"export"}, {"history", "account_group", group}} {
		code, text = as(access.Audit, command...)
		require.Equal(t, exitDone, code, text)
		code, text = as(access.Upstream, command...)
		require.Equal(t, exitFailed, code, text)
	}
	code, text = as(access.Audit, "clients", "list")
	require.Equal(t, exitFailed, code, text)

	// Without a key nobody gets in, and the answer says how.
	code, _, stderr := once(t, "", "verify", "--nats-url", s.NATS, "--data", "")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "--nats-nkey")
	_, err := nats.Connect(s.NATS)
	require.ErrorIs(t, err, nats.ErrAuthorization)
}

// What is wrong with the configuration is said all at once, before anything is started.
func TestConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "closure.yaml")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	run := func() string {
		code, out, stderr := once(t, "", "serve", "--config", file, "--data", t.TempDir())
		require.Equal(t, exitUsage, code, stderr)
		require.Empty(t, out)
		return stderr
	}
	write("colour: blue\nstall-after: soon\nreplicas: [1, many]\nnats-url: {a: b}\n")
	t.Setenv("CLOSURE_EARLY_FACT_WAIT", "tomorrow")
	text := run()
	for _, says := range []string{`line 1: there is no setting "colour"`, "line 2: --stall-after", "line 3: --replicas", "line 4: must be one value",
		"CLOSURE_EARLY_FACT_WAIT: --early-fact-wait"} {
		require.Contains(t, text, says)
	}
	t.Setenv("CLOSURE_EARLY_FACT_WAIT", "5m")
	write("replicas: 2\nhttp-addr: 0.0.0.0:80\nclient-rate: -1\nstall-after: -1s\n")
	text = run()
	for _, says := range []string{"--http-addr:", "--replicas: must be 1, 3 or 5, got 2", "--replicas: more than 1 needs --nats-url", "--client-rate:", "--stall-after:"} {
		require.Contains(t, text, says)
	}
	write("- no\n")
	require.Contains(t, run(), "must be YAML")
	require.NoError(t, os.Remove(file))
	require.Contains(t, run(), "no such file")

	// A flag counts before the environment, that before the file.
	write("tax-statement-day: 03-20\nearly-fact-wait: 1m\nstall-after: 1h\nlog-level: debug\n")
	t.Setenv("CLOSURE_LOG_LEVEL", "warn")
	t.Setenv("CLOSURE_CONFIG", file)
	var c cli
	taken, err := parsed(&c, "serve", "--stall-after", "2h")
	require.NoError(t, err)
	require.Equal(t, "serve", taken)
	require.Equal(t, []any{domain.MonthDay{Month: 3, Day: 20}, 5 * time.Minute, 2 * time.Hour, "WARN"},
		[]any{domain.MonthDay(c.Serve.StatementDay), c.Serve.EarlyFactWait, c.Serve.StallAfter, c.Serve.LogLevel.String()})
}

// parsed reads a command line as the program does, and gives the command.
func parsed(c *cli, args ...string) (string, error) {
	var out bytes.Buffer
	parser, err := newParser(context.Background(), c, streams{in: strings.NewReader(""), out: &out, err: &out}, func() {})
	if err != nil {
		return "", err
	}
	if err := configure(parser.Model, args); err != nil {
		return "", err
	}
	taken, err := parse(parser, args)
	if err != nil {
		return "", err
	}
	return taken.Command(), nil
}

// The users that are printed for a cluster are those of the roles, with keys that stay.
func TestNATSConfig(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "keys")
	code, first, stderr := once(t, "", "nats-config", "--keys", folder)
	require.Equal(t, exitDone, code, stderr)
	require.Contains(t, stderr, "engine.nk")
	code, again, stderr := once(t, "", "nats-config", "--keys", folder)
	require.Equal(t, exitDone, code, stderr)
	require.Equal(t, first, again)
	for _, role := range access.Roles() {
		key, err := roleKey(roleFile(folder, role.Name))
		require.NoError(t, err)
		require.Contains(t, first, key)
		seed, err := os.ReadFile(roleFile(folder, role.Name))
		require.NoError(t, err)
		require.NotContains(t, first, strings.TrimSpace(string(seed)))
	}
	// The embedded server gets the same, with the keys of its folder.
	data := t.TempDir()
	embedded, err := natsAccess(data)
	require.NoError(t, err)
	code, printed, stderr := once(t, "", "nats-config", "--keys", filepath.Join(data, credentialsFolder))
	require.Equal(t, exitDone, code, stderr)
	require.Equal(t, printed, embedded)
	require.NoError(t, os.WriteFile(roleFile(folder, access.Audit), []byte("nothing"), 0o600))
	code, _, stderr = once(t, "", "nats-config", "--keys", folder)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "audit.nk is not the seed of a user's nkey")
}

// Keys of tokens rotate while the engine runs: what the key before has signed stays good for the overlap.
func TestTokenKeysRotate(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir())
	c := s.caller(t, uuid.NewString())
	get[list[domain.AccountResource]](c, "/accounts")
	kid := func(token string) string {
		head, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
		require.NoError(t, err)
		var header struct {
			Kid string `json:"kid"`
		}
		require.NoError(t, json.Unmarshal(head, &header))
		return header.Kid
	}
	rotate := func(overlap string) (rotated struct {
		Kid string `json:"kid"`
	}) {
		code, out, stderr := once(t, "", append([]string{"clients", "rotate-keys", "--overlap", overlap, "--json"}, s.at()...)...)
		require.Equal(t, exitDone, code, stderr)
		require.NoError(t, json.Unmarshal([]byte(out), &rotated))
		return rotated
	}
	next := rotate("24h")
	require.NotEqual(t, kid(c.token), next.Kid)
	require.Eventually(t, func() bool { return kid(s.caller(t, uuid.NewString()).token) == next.Kid }, within, time.Millisecond)
	get[list[domain.AccountResource]](c, "/accounts") // of the key before
	// The keys of webhooks are others.
	_, _, body := c.do(http.MethodGet, "/auth/verify_keys", "", nil)
	require.NotContains(t, string(body), next.Kid)
	require.NotContains(t, string(body), kid(c.token))

	// A key that was stolen is thrown out at once, and with it what it has signed.
	rotate("0s")
	require.Eventually(t, func() bool {
		status, _, _ := c.do(http.MethodGet, "/accounts", "", nil)
		return status == http.StatusUnauthorized
	}, within, time.Millisecond)
}
