package auth

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha512"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"
)

// RequestKey is a client's private key for HTTP message signatures: Ed25519, or ECDSA on P-256, P-384 or P-521.
type RequestKey struct {
	// ID is the keyid under which the public key is registered.
	ID      string
	Private crypto.Signer
}

// SignRequest signs a request as a client does (CONTRACT: HTTP message signatures). It is for clients: the command line, the
// demo, tests. All headers have to be set before, authorization as well; afterwards nothing may change. It gives the request
// this body, and replaces the headers of an earlier signature. at is the time of the request. The signature is valid for 10 s,
// and for one request.
func SignRequest(r *http.Request, body []byte, key RequestKey, at time.Time) error {
	algorithm, err := algorithmOf(key.Private.Public())
	if err != nil {
		return fmt.Errorf("sign the request: the key %w", err)
	}
	for _, name := range []string{headerContentDigest, headerSignature, headerSignatureInput, "content-length"} {
		r.Header.Del(name)
	}
	if len(body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Header.Set(headerContentDigest, contentDigest(body))
		r.Header.Set("content-length", strconv.Itoa(len(body))) // net/http sends its own, which is the same
	}
	r.Header.Set(headerSignatureVersion, signatureDraft)
	params := httpsfv.NewParams()
	params.Add("keyid", key.ID)
	params.Add("created", at.Unix())
	params.Add("nonce", rand.Text())
	params.Add("expires", at.Add(10*time.Second).Unix())
	list := httpsfv.InnerList{Params: params}
	for _, name := range required(r, body) {
		list.Items = append(list.Items, httpsfv.NewItem(name))
	}
	return key.sign(r, list, algorithm)
}

// sign sets the headers of the signature over what the list covers.
func (k RequestKey) sign(r *http.Request, list httpsfv.InnerList, algorithm string) error {
	base, err := signatureBase(r, list)
	if err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	message, opts := base, crypto.SignerOpts(crypto.Hash(0))
	if algorithm != AlgorithmEd25519 {
		sum := sha512.Sum512(base)
		message, opts = sum[:], crypto.SHA512
	}
	signature, err := k.Private.Sign(rand.Reader, message, opts)
	if err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	for header, member := range map[string]httpsfv.Member{headerSignatureInput: list, headerSignature: httpsfv.NewItem(signature)} {
		all := httpsfv.NewDictionary()
		all.Add(signatureLabel, member)
		text, err := httpsfv.Marshal(all)
		if err != nil {
			return fmt.Errorf("sign the request: %w", err)
		}
		r.Header.Set(header, text)
	}
	return nil
}
