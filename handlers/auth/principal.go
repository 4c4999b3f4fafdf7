package auth

// Principal is who makes a request.
type Principal struct {
	// ClientID is the tenant, a uuid in its canonical form.
	ClientID string
	// Scopes are what the client may do with the token that it has shown.
	Scopes Set
	// MustSign: the client has registered keys, so each of its requests has to be signed.
	MustSign bool
}

// Token is an access token as it is given out.
type Token struct {
	AccessToken string
	ExpiresIn   int // seconds
	Scope       Set
}
