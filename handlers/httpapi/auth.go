package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"closure/domain"
	"closure/handlers"
	"closure/handlers/auth"
)

// Authenticator tells who makes a request: auth.Authenticator does. A refusal is an *auth.Error.
type Authenticator interface {
	// Authenticate takes the value of the authorization header, and the client that the request names.
	Authenticate(ctx context.Context, authorization, clientID string) (auth.Principal, error)
	// VerifySignature checks the HTTP message signature of a request, the body of which was read.
	VerifySignature(ctx context.Context, r *http.Request, body []byte, p auth.Principal) error
	// Token gives an access token for a secret. Without scopes it has all that the client has.
	Token(ctx context.Context, clientID, secret, scopes string) (auth.Token, error)
	// MustSign tells whether the client has registered keys.
	MustSign(clientID string) bool
	// Rate is how many requests a second a client may make, and how many at once; zero for the default.
	Rate(clientID string) (perSecond float64, burst int)
}

const headerAuthorization = "authorization"

// authenticated: the client is who it says, may do this, and does not do it too often.
func (a *api) authenticated(x *exchange) func() error {
	return func() error {
		if x.route.anonymous {
			return nil
		}
		values := x.http.Header.Values(headerAuthorization)
		switch {
		case len(values) == 0:
			a.denied(GateToken)
			return x.problem(unauthorised, headerAuthorization+": must be in the header: Bearer and an access token, which POST /auth/token gives")
		case len(values) > 1:
			a.denied(GateToken)
			return x.problem(unauthorised, fmt.Sprintf("%s: must be in the header once, got it %d times", headerAuthorization, len(values)))
		}
		who, err := a.auth.Authenticate(x.Context(), values[0], x.req.client)
		if err != nil {
			return a.deny(GateToken, err)
		}
		x.who = who
		if !who.MustSign { // whoever must sign is counted when it has: a token alone uses up nothing of its rate
			if err := a.count(x.req); err != nil {
				return err
			}
		}
		if x.route.scope != "" && !who.Scopes.Has(x.route.scope) {
			a.denied(GateScope)
			return x.problem(forbidden, fmt.Sprintf("the access token does not have the scope %s, which this call needs", x.route.scope))
		}
		return nil
	}
}

// signed: a client with registered keys signs its requests. Whoever else signs is taken at its word.
func (a *api) signed(x *exchange) func() error {
	return func() error {
		if x.route.anonymous || !x.who.MustSign && x.http.Header.Get("signature") == "" {
			return nil
		}
		err := a.deny(GateSignature, a.auth.VerifySignature(x.Context(), x.http, x.body, x.who))
		if err == nil && x.who.MustSign {
			err = a.count(x.req)
		}
		return err
	}
}

// count counts the request of a client that is known.
func (a *api) count(r *request) error {
	if wait, ok := a.limiter.admit(r.client, time.Now()); !ok {
		a.denied(GateRate)
		return tooMany(r, wait)
	}
	return nil
}

// authProblem is an *auth.Error as the client sees it; nil when it is none.
func (a *api) authProblem(r *request, err error) *problem {
	var refusal *auth.Error
	if !errors.As(err, &refusal) {
		return nil
	}
	slug, ok := map[auth.Kind]handlers.Slug{
		auth.Unauthenticated: unauthorised, auth.Invalid: invalidRequest, auth.NoTokens: notFound, auth.Unavailable: unavailable,
	}[refusal.Kind]
	switch {
	case !ok:
		return newProblem(r, internalError, internalDetail)
	case refusal.Code == auth.CodeInvalidClient: // RFC 6749, 5.2
		slug = unauthorised
	}
	return newProblem(r, slug, refusal.Reason)
}

// tokenRequest is the form of POST /auth/token (RFC 6749, 4.4).
type tokenRequest struct {
	ClientID     string `json:"client_id" format:"uuid" doc:"The id of the client."`
	ClientSecret string `json:"client_secret" doc:"A secret of the client."`
	GrantType    string `json:"grant_type" enum:"client_credentials" doc:"How the token is asked for."`
	Scope        string `json:"scope,omitempty" doc:"Scopes of the client, with spaces between them. Defaults to all that it has." example:"accounts:read accounts:admin"`
}

type getToken struct {
	Body tokenRequest `contentType:"application/x-www-form-urlencoded"`
}

// accessToken is the answer to it.
type accessToken struct {
	AccessToken string `json:"access_token" doc:"For the authorization header, after Bearer."`
	ExpiresIn   int    `json:"expires_in" doc:"Seconds until it ends."`
	Scope       string `json:"scope" doc:"What it allows, with spaces between."`
	TokenType   string `json:"token_type" enum:"bearer"`
}

func (a *api) registerTokens() {
	register(a, route{
		id: "createToken", method: http.MethodPost, path: "/auth/token", tag: tagAuth, summary: "Get an access token",
		text: "By client credentials (RFC 6749, 4.4), as a form. With an issuer of tokens elsewhere, there is no such call (404).",
		noun: "issuer", anonymous: true, form: true,
		status: http.StatusOK, success: "The access token.",
		example: accessToken{AccessToken: "eyJhbGciOiJFZERTQSJ9…", ExpiresIn: 3600, Scope: "accounts:admin accounts:read", TokenType: "bearer"},
		request: tokenRequest{ClientID: exampleID, ClientSecret: "cls_…", GrantType: "client_credentials", Scope: "accounts:admin accounts:read"},
	}, a.createToken)
}

func (a *api) createToken(ctx context.Context, in *getToken) (*found[accessToken], error) {
	r := requestOf(ctx)
	id, err := domain.ParseID(in.Body.ClientID)
	if err != nil {
		return nil, newProblem(r, invalidRequest, "client_id: "+err.Error())
	}
	token, err := a.auth.Token(ctx, id, in.Body.ClientSecret, in.Body.Scope)
	if err != nil {
		return nil, a.refuseToken(r, id, a.deny(GateCredentials, err))
	}
	if a.auth.MustSign(id) { // asked after the secret: the answer tells others nothing of the client
		who := auth.Principal{ClientID: id, MustSign: true}
		if err := a.deny(GateSignature, a.auth.VerifySignature(ctx, r.http, r.raw, who)); err != nil {
			return nil, err
		}
	}
	return &found[accessToken]{Body: accessToken{
		AccessToken: token.AccessToken, ExpiresIn: token.ExpiresIn, Scope: token.Scope.String(), TokenType: "bearer",
	}}, nil
}

// refuseToken counts a wrong secret. Only failures count: nobody can keep a client from its tokens by guesses in its name.
func (a *api) refuseToken(r *request, clientID string, err error) error {
	var refusal *auth.Error
	if !errors.As(err, &refusal) || refusal.Code != auth.CodeInvalidClient {
		return err
	}
	if wait, ok := a.tokens.admit(clientID, time.Now()); !ok {
		a.denied(GateRate)
		return tooMany(r, wait)
	}
	return err
}

// formObject makes a form the JSON object that it stands for: each field once, all of them text.
func (x *exchange) formObject(body []byte) ([]byte, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, x.problem(invalidRequest, "body: must be a form: name=value pairs joined by &, percent-encoded")
	}
	object := make(map[string]string, len(values))
	var details details
	for name, value := range values {
		if len(value) > 1 {
			details.add(shownName(name), fmt.Sprintf("must be given once, got it %d times", len(value)))
		}
		if !utf8.ValidString(name + value[0]) {
			return nil, x.problem(invalidRequest, "body: must be a form in UTF-8, got bytes that are not UTF-8")
		}
		object[name] = value[0]
	}
	if len(details) > 0 {
		return nil, x.problem(invalidRequest, details.String())
	}
	return json.Marshal(object)
}

// securitySchemes are how the OpenAPI document tells of tokens.
func securitySchemes() map[string]*huma.SecurityScheme {
	scopes := map[string]string{}
	for _, s := range auth.Scopes() {
		resource, right, _ := strings.Cut(string(s), ":")
		does := map[string]string{"read": "Read ", "admin": "Read and change "}[right]
		scopes[string(s)] = does + strings.ReplaceAll(resource, "_", " ") + "."
	}
	return map[string]*huma.SecurityScheme{schemeOAuth: {
		Type: "oauth2", Description: "An access token of the client.",
		Flows: &huma.OAuthFlows{ClientCredentials: &huma.OAuthFlow{TokenURL: "/auth/token", Scopes: scopes}},
	}}
}

const schemeOAuth = "oauth2"
