package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"closure/domain"
)

// Issuer is another issuer of tokens: those of the engine are not accepted beside it, and the token endpoint gives none.
// Clients need no entry in the registry; one that has an entry can be disabled there, has its keys and rate, and is limited to
// its scopes when there are any. The zero value is no other issuer; else URL, JWKSURL and Audience are required.
type Issuer struct {
	// URL is `iss` of its tokens.
	URL string
	// JWKSURL is where its keys are: an https URL of a JWK set, or an http one at a loopback address.
	JWKSURL string
	// Audience is what `aud` of its tokens holds for this engine.
	Audience string
	// ClientClaim is the claim with the client's id, a uuid. Defaults to "client_id".
	ClientClaim string
}

func (i Issuer) validate() error {
	var errs []error
	if i.URL == "" {
		errs = append(errs, errors.New("issuer: the URL is missing, which its tokens have as iss"))
	}
	if i.Audience == "" {
		errs = append(errs, errors.New("issuer: the audience is missing, which its tokens have as aud"))
	}
	u, err := url.Parse(i.JWKSURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		errs = append(errs, errors.New("issuer: the URL of the JWK set must be https, or http at a loopback address")) // not what it is: there may be a password in it
	}
	return errors.Join(errs...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// issuerAlgorithms are those that another issuer may sign with: asymmetric ones, since whoever has the key of a symmetric one
// can make tokens; and RS256, which is what most have.
var issuerAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// issuer verifies the tokens of another issuer.
type issuer struct {
	cfg  Issuer
	keys *remoteKeys
}

func newIssuer(cfg Config) *issuer {
	i := &issuer{cfg: cfg.Issuer, keys: newRemoteKeys(cfg.Issuer.JWKSURL, cfg.Now, cfg.Logger)}
	if i.cfg.ClientClaim == "" {
		i.cfg.ClientClaim = "client_id"
	}
	return i
}

func (i *issuer) stop() { i.keys.stop() }

// read takes the claims of a token with a signature of the issuer.
func (i *issuer) read(ctx context.Context, raw string) (c jwt.Claims, all map[string]any, err error) {
	token, err := parseToken(raw, issuerAlgorithms)
	if err != nil {
		return c, nil, err
	}
	header := token.Headers[0]
	// Not all issuers name their access tokens as RFC 9068 says. That a token is for us is in the audience.
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if typ != "" && !strings.EqualFold(typ, "JWT") && !isAccessToken(header) {
		return c, nil, unauthenticated("the token is not an access token: its typ must be " + tokenType + " or JWT")
	}
	keys, err := i.keys.find(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return c, nil, err
	}
	err = unauthenticated(unknownKey)
	for _, key := range keys {
		if err = verified(token, key, &c, &all); err == nil {
			return c, all, nil
		}
	}
	return c, nil, err
}

// authenticateElsewhere takes a token of the other issuer.
func (a *Authenticator) authenticateElsewhere(ctx context.Context, raw, clientID string) (Principal, error) {
	c, all, err := a.issuer.read(ctx, raw)
	if err != nil {
		return Principal{}, err
	}
	if err := checkClaims(c, a.issuer.cfg.URL, a.issuer.cfg.Audience, a.cfg.Now()); err != nil {
		return Principal{}, err
	}
	named, _ := all[a.issuer.cfg.ClientClaim].(string)
	id, err := domain.ParseID(named)
	if err != nil {
		return Principal{}, unauthenticated(fmt.Sprintf("the access token does not say whose it is: %s must be a uuid", a.issuer.cfg.ClientClaim))
	}
	if id != clientID {
		return Principal{}, unauthenticated(otherClient)
	}
	p := Principal{ClientID: clientID, Scopes: scopesOf(all)}
	client, there := a.clients.find(clientID)
	if !there {
		return p, nil
	}
	if client.Disabled {
		return Principal{}, unauthenticated("the client is disabled")
	}
	p.MustSign = len(client.Keys) > 0
	if !client.Scopes.Empty() {
		p.Scopes = p.Scopes.and(client.Scopes)
	}
	return p, nil
}

// scopesOf are the scopes of a token: `scope` is a text (RFC 9068), `scp` a list or a text.
func scopesOf(all map[string]any) Set {
	var names []string
	for _, claim := range []string{"scope", "scp"} {
		switch value := all[claim].(type) {
		case string:
			names = append(names, strings.Fields(value)...)
		case []any:
			for _, one := range value {
				if name, ok := one.(string); ok {
					names = append(names, name)
				}
			}
		}
	}
	return knownScopes(names)
}
