package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"closure/domain"
)

const (
	// futureLeeway is how far a client's clock may be ahead of ours.
	futureLeeway = 5 * time.Second
	// maxNonce bounds a nonce, in bytes.
	maxNonce = 256
)

// messageSignature is the signature of a request, as its headers have it.
type messageSignature struct {
	covered          httpsfv.InnerList
	names            []string // of what is covered
	bytes            []byte
	keyID, nonce     string
	algorithm        string // "" when it does not say
	created, expires int64  // seconds since 1970
}

func (a *Authenticator) verifySignature(ctx context.Context, r *http.Request, body []byte, p Principal) error {
	if _, err := a.clients.opened(); err != nil {
		return unavailable(tryAgain, err)
	}
	client, there := a.clients.find(p.ClientID)
	if !there || len(client.keys) == 0 {
		return unauthenticated("the client has no registered key that could verify a signature")
	}
	s, err := readSignature(r)
	if err != nil {
		return err
	}
	public, there := client.keys[s.keyID]
	if !there {
		return unauthenticated("signature-input: the client has no registered key with the keyid " + domain.Quote(s.keyID))
	}
	if algorithm, _ := algorithmOf(public); s.algorithm != "" && s.algorithm != algorithm {
		return unauthenticated("signature-input: alg: must be " + algorithm + " for this key, or absent")
	}
	if err := s.checkTime(a.cfg.Now(), a.cfg.SignatureLife); err != nil {
		return err
	}
	if err := s.checkCovered(r, body); err != nil {
		return err
	}
	base, err := signatureBase(r, s.covered)
	if err != nil {
		return err
	}
	if !verifyBytes(public, base, s.bytes) {
		return unauthenticated("signature: it is not of this request and this key")
	}
	return a.useNonce(ctx, client.ID, s)
}

func (a *Authenticator) useNonce(ctx context.Context, clientID string, s messageSignature) error {
	err := a.nonces.use(ctx, clientID, s.keyID, s.nonce, time.Unix(s.created, 0))
	switch {
	case errors.Is(err, errUsed):
		return unauthenticated("signature-input: nonce: it was used before: sign each request with a new one")
	case errors.Is(err, errForgotten):
		// It cannot be told whether it was used. A client that has just signed it does well to come again.
		return unavailable("signature-input: created: the nonces that were used by then have been lost in a restart: sign the request again in some seconds", err)
	case err != nil:
		return unavailable(tryAgain, err)
	}
	return nil
}

// readSignature reads the headers of the signature.
func readSignature(r *http.Request) (s messageSignature, err error) {
	if version := strings.Join(r.Header.Values(headerSignatureVersion), ", "); strings.TrimSpace(version) != signatureDraft {
		if len(r.Header.Values(headerSignature)) == 0 && version == "" {
			return s, unauthenticated("the request must be signed, since the client has a registered key: signature and signature-input are missing")
		}
		return s, unauthenticated(headerSignatureVersion + ": must be " + signatureDraft + ", got " + domain.Quote(version))
	}
	input, err := labelled(r, headerSignatureInput)
	if err != nil {
		return s, err
	}
	list, ok := input.(httpsfv.InnerList)
	if !ok {
		return s, unauthenticated("signature-input: sig1 must be a list of components in parentheses")
	}
	value, err := labelled(r, headerSignature)
	if err != nil {
		return s, err
	}
	item, _ := value.(httpsfv.Item)
	if s.bytes, ok = item.Value.([]byte); !ok {
		return s, unauthenticated("signature: sig1 must be bytes in Base64 between colons")
	}
	s.covered = list
	if s.names, err = names(list); err != nil {
		return s, err
	}
	return s, s.readParams(list.Params)
}

// labelled is the member of a dictionary with our label. Others may be there, for others.
func labelled(r *http.Request, header string) (httpsfv.Member, error) {
	values := r.Header.Values(header)
	if len(values) == 0 {
		return nil, unauthenticated(header + ": is missing, and the request must be signed")
	}
	all, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return nil, unauthenticated(header + ": must be a dictionary of structured fields (RFC 8941)")
	}
	member, there := all.Get(signatureLabel)
	if !there {
		return nil, unauthenticated(header + ": must have a member " + signatureLabel)
	}
	return member, nil
}

// names are those of the components: each once, none with parameters.
func names(list httpsfv.InnerList) ([]string, error) {
	var out []string
	for _, item := range list.Items {
		name, ok := item.Value.(string)
		switch {
		case !ok:
			return nil, unauthenticated("signature-input: the components must be strings")
		case item.Params != nil && len(item.Params.Names()) > 0:
			return nil, unauthenticated("signature-input: the component " + domain.Quote(name) + " must be without parameters")
		case slices.Contains(out, name):
			return nil, unauthenticated("signature-input: the component " + domain.Quote(name) + " is there twice")
		}
		out = append(out, name)
	}
	return out, nil
}

func (s *messageSignature) readParams(params *httpsfv.Params) error {
	if params == nil {
		params = httpsfv.NewParams()
	}
	for name, into := range map[string]*string{"keyid": &s.keyID, "nonce": &s.nonce} {
		value, _ := params.Get(name)
		text, ok := value.(string)
		if !ok || text == "" {
			return unauthenticated("signature-input: " + name + " must be a string, and not empty")
		}
		*into = text
	}
	if len(s.nonce) > maxNonce {
		return unauthenticated(fmt.Sprintf("signature-input: nonce must have at most %d characters", maxNonce))
	}
	for name, into := range map[string]*int64{"created": &s.created, "expires": &s.expires} {
		value, _ := params.Get(name)
		seconds, ok := value.(int64)
		if !ok || seconds <= 0 {
			return unauthenticated("signature-input: " + name + " must be a time in seconds since 1970")
		}
		*into = seconds
	}
	if value, there := params.Get("alg"); there {
		text, ok := value.(string)
		if !ok || text == "" {
			return unauthenticated("signature-input: alg must be a string, or absent")
		}
		s.algorithm = text
	}
	return nil
}

// checkTime: a signature is good for a moment only.
func (s *messageSignature) checkTime(now time.Time, life time.Duration) error {
	most := int64(life / time.Second)
	switch {
	case s.created > now.Add(futureLeeway).Unix():
		return unauthenticated("signature-input: created is in the future: it must be the time at which the request is signed")
	case s.expires < s.created || s.expires-s.created > most:
		return unauthenticated(fmt.Sprintf("signature-input: expires must be at most %d s after created, and not before it", most))
	case now.Unix() > s.expires:
		return unauthenticated("signature-input: the signature has expired: sign the request again")
	}
	return nil
}

// checkCovered: everything that could change what the request does is covered, and the body is the one that was signed.
func (s *messageSignature) checkCovered(r *http.Request, body []byte) error {
	for _, name := range required(r, body) {
		if !slices.Contains(s.names, name) {
			return unauthenticated("signature-input: " + domain.Quote(name) + " must be covered by the signature")
		}
	}
	if values := r.Header.Values(headerContentDigest); len(values) > 0 {
		return checkDigest(values, body)
	}
	return nil // with a body it is covered, so signatureBase says that it is missing
}
