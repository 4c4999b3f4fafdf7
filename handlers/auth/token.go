package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"closure/domain"
)

const (
	// tokenType is `typ` of an access token (RFC 9068).
	tokenType = "at+jwt"
	// leeway is how far the clock that made a token may be from ours.
	leeway = 30 * time.Second
	// maxToken bounds a token, in bytes.
	maxToken = 8 << 10
)

// claims are those of our tokens (RFC 9068, 2.2).
type claims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
	// SecretID names the secret that the token was got with: the token ends with it.
	SecretID string `json:"secret_id"`
}

// wrongSecret is the answer for a client that there is not, that is disabled, or that does not know its secret: one for all,
// so that nobody learns which clients there are.
const wrongSecret = "client_id or client_secret is wrong, or the client is disabled"

func (a *Authenticator) token(ctx context.Context, clientID, secret, requested string) (Token, error) {
	if a.issuer != nil {
		return Token{}, &Error{Kind: NoTokens, Reason: "tokens are given out by another issuer, and not here"}
	}
	if _, err := a.clients.opened(); err != nil {
		return Token{}, unavailable(tryAgain, err)
	}
	now := a.cfg.Now()
	client, _ := a.clients.find(clientID)
	used, ok := match(client.secrets, secret, now)
	if !ok { // the client, or its secret, may be new; whether it is takes the same time for all
		a.clients.lookAgain(ctx, clientID)
		client, _ = a.clients.find(clientID)
		used, ok = match(client.secrets, secret, now)
	}
	if !ok || client.Disabled {
		return Token{}, &Error{Kind: Invalid, Code: CodeInvalidClient, Reason: wrongSecret}
	}
	granted, err := grant(client.Scopes, requested)
	if err != nil {
		return Token{}, err
	}
	text, err := a.sign(client.ID, used.id(), granted, now)
	if err != nil {
		return Token{}, unavailable(tryAgain, err)
	}
	return Token{AccessToken: text, ExpiresIn: int(a.cfg.TokenLife / time.Second), Scope: granted}, nil
}

const tryAgain = "this cannot be checked at the moment: try again later"

// grant gives the scopes that were asked for: all for "".
func grant(has Set, requested string) (Set, error) {
	if strings.TrimSpace(requested) == "" {
		return has, nil
	}
	asked, err := ParseSet(requested)
	if err != nil {
		return Set{}, &Error{Kind: Invalid, Code: CodeInvalidScope, Reason: "scope: " + err.Error()}
	}
	if missing := asked.without(has); len(missing) > 0 {
		return Set{}, &Error{Kind: Invalid, Code: CodeInvalidScope, Reason: fmt.Sprintf("scope: the client does not have %s", missing[0])}
	}
	return asked, nil
}

// sign makes a token.
func (a *Authenticator) sign(clientID, secretID string, scopes Set, now time.Time) (string, error) {
	kid, key, err := a.cfg.Keys.Signer()
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, (&jose.SignerOptions{}).WithType(tokenType),
	)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims{
		Claims: jwt.Claims{
			Issuer: a.cfg.TokenIssuer, Subject: clientID, Audience: jwt.Audience{a.cfg.Audience}, ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(a.cfg.TokenLife)),
		},
		ClientID: clientID, Scope: scopes.String(), SecretID: secretID,
	}).Serialize()
}

func (a *Authenticator) authenticate(ctx context.Context, authorization, clientID string) (Principal, error) {
	raw, err := bearer(authorization)
	if err != nil {
		return Principal{}, err
	}
	if _, err := a.clients.opened(); err != nil {
		return Principal{}, unavailable(tryAgain, err)
	}
	if a.issuer != nil {
		return a.authenticateElsewhere(ctx, raw, clientID)
	}
	return a.authenticateHere(ctx, raw, clientID)
}

// bearer is the token of the header (RFC 6750, 2.1).
func bearer(authorization string) (string, error) {
	scheme, raw, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	raw = strings.TrimLeft(raw, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer") || raw == "":
		return "", unauthenticated("authorization: must be Bearer and an access token")
	case strings.ContainsAny(raw, " ,\t"):
		return "", unauthenticated("authorization: must hold one access token, and nothing after it")
	case len(raw) > maxToken:
		return "", unauthenticated(fmt.Sprintf("the access token is too long: must be of at most %d bytes", maxToken))
	}
	return raw, nil
}

// authenticateHere takes a token that the engine has made, this process or another one.
func (a *Authenticator) authenticateHere(ctx context.Context, raw, clientID string) (Principal, error) {
	c, err := a.readToken(raw)
	if err != nil {
		return Principal{}, err
	}
	now := a.cfg.Now()
	if err := checkClaims(c.Claims, a.cfg.TokenIssuer, a.cfg.Audience, now); err != nil {
		return Principal{}, err
	}
	client, there := a.clients.find(c.ClientID)
	if c.ClientID == clientID && !client.hasSecret(c.SecretID, now) { // another process may have given it out a moment ago
		a.clients.lookAgain(ctx, clientID)
		client, there = a.clients.find(clientID)
	}
	switch {
	case c.ClientID == "" || c.Subject != c.ClientID:
		return Principal{}, unauthenticated("the access token does not say whose it is")
	case c.ClientID != clientID:
		return Principal{}, unauthenticated(otherClient)
	case !there:
		return Principal{}, unauthenticated("the client of the access token is not registered any more")
	case client.Disabled:
		return Principal{}, unauthenticated("the client is disabled")
	case !client.hasSecret(c.SecretID, now):
		return Principal{}, unauthenticated("the access token was got with a secret that has been replaced: get another one")
	}
	// What was made here holds scopes that there are, or were.
	scopes := knownScopes(strings.Fields(c.Scope)).and(client.Scopes)
	return Principal{ClientID: clientID, Scopes: scopes, MustSign: len(client.Keys) > 0}, nil
}

const otherClient = "the access token is not of the client that upvest-client-id names"

// readToken takes the claims of a token with a signature of ours.
func (a *Authenticator) readToken(raw string) (claims, error) {
	token, err := parseToken(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return claims{}, err
	}
	header := token.Headers[0]
	if !isAccessToken(header) {
		return claims{}, unauthenticated("the token is not an access token: its typ must be " + tokenType)
	}
	key, there := a.cfg.Keys.Verifier(header.KeyID)
	if !there {
		return claims{}, unauthenticated(unknownKey)
	}
	var c claims
	return c, verified(token, key, &c)
}

const unknownKey = "the access token is signed with a key that is not known, or not any more: get another one"

// parseToken reads a token that is signed with one of the algorithms. Its signature is not verified yet.
func parseToken(raw string, algorithms []jose.SignatureAlgorithm) (*jwt.JSONWebToken, error) {
	token, err := jwt.ParseSigned(raw, algorithms)
	var algorithm *jose.ErrUnexpectedSignatureAlgorithm
	switch {
	case errors.As(err, &algorithm):
		return nil, unauthenticated(fmt.Sprintf("the access token is signed with the algorithm %s, which is not accepted", domain.Quote(string(algorithm.Got))))
	case err != nil || len(token.Headers) != 1:
		return nil, unauthenticated("the access token cannot be read: must be a signed JWT")
	}
	return token, nil
}

// isAccessToken looks at typ (RFC 9068, 4).
func isAccessToken(header jose.Header) bool {
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	return strings.EqualFold(strings.TrimPrefix(strings.ToLower(typ), "application/"), tokenType)
}

// verified takes the claims when the signature is one of the key.
func verified(token *jwt.JSONWebToken, key any, into ...any) error {
	err := token.Claims(key, into...)
	switch {
	case errors.Is(err, jose.ErrCryptoFailure), errors.Is(err, jose.ErrUnsupportedAlgorithm), errors.Is(err, jose.ErrUnsupportedKeyType):
		return unauthenticated("the signature of the access token is wrong")
	case err != nil:
		return unauthenticated("the claims of the access token cannot be read")
	}
	return nil
}

// checkClaims are the checks that are the same for all issuers.
func checkClaims(c jwt.Claims, issuer, audience string, now time.Time) error {
	err := c.ValidateWithLeeway(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: now}, leeway)
	switch {
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return unauthenticated("the access token is of another issuer")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return unauthenticated("the access token is for another audience")
	case errors.Is(err, jwt.ErrExpired):
		return unauthenticated("the access token has expired: get another one")
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return unauthenticated("the access token is not valid yet")
	case err != nil:
		return unauthenticated("the claims of the access token are not valid")
	case c.Expiry == nil:
		return unauthenticated("the access token does not expire: exp must be there")
	}
	return nil
}
