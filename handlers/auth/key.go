package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"closure/domain"
)

// The algorithms of HTTP message signatures (CONTRACT). ECDSA is over SHA-512 on all curves, and its signatures are in DER:
// RFC 9421 has other ones.
const (
	AlgorithmEd25519 = "ed25519"
	AlgorithmP256    = "ecdsa-p256-sha512"
	AlgorithmP384    = "ecdsa-p384-sha512"
	AlgorithmP521    = "ecdsa-p521-sha512"
)

// maxKeyID bounds the id of a key, in bytes.
const maxKeyID = 128

// Key is a public key by which a client's signatures are verified.
type Key struct {
	// KeyID is the client's name for it: 1 to 128 characters of visible ASCII.
	KeyID string `json:"keyid" yaml:"keyid"`
	// Algorithm is one of the constants. When it is absent it is what the key is for.
	Algorithm string `json:"algorithm" yaml:"algorithm"`
	// PEM is the key, as SubjectPublicKeyInfo: a block PUBLIC KEY.
	PEM string `json:"pem" yaml:"pem"`
}

// completed checks the key, and fills the algorithm in.
func (k Key) completed() (Key, crypto.PublicKey, error) {
	if k.KeyID == "" || len(k.KeyID) > maxKeyID || strings.ContainsFunc(k.KeyID, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return k, nil, fmt.Errorf("keyid: must be 1 to %d characters of visible ASCII, got %s", maxKeyID, domain.Quote(k.KeyID))
	}
	public, err := parsePublicKey(k.PEM)
	if err != nil {
		return k, nil, fmt.Errorf("the key %s: %w", domain.Quote(k.KeyID), err)
	}
	algorithm, err := algorithmOf(public)
	if err != nil {
		return k, nil, fmt.Errorf("the key %s: %w", domain.Quote(k.KeyID), err)
	}
	if k.Algorithm != "" && k.Algorithm != algorithm {
		return k, nil, fmt.Errorf("the key %s: algorithm: must be %s for this key, got %s", domain.Quote(k.KeyID), algorithm, domain.Quote(k.Algorithm))
	}
	k.Algorithm = algorithm
	return k, public, nil
}

func parsePublicKey(text string) (crypto.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("must be PEM: -----BEGIN PUBLIC KEY----- …")
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, errors.New("this is a private key, which nobody else may have: give the public one (openssl pkey -pubout)")
	case block.Type != "PUBLIC KEY":
		return nil, fmt.Errorf("must be a PEM block PUBLIC KEY, got %s", domain.Quote(block.Type))
	case strings.TrimSpace(string(rest)) != "":
		return nil, errors.New("must be one PEM block, and nothing after it")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("must be a public key as SubjectPublicKeyInfo")
	}
	return public, nil
}

// algorithmOf is the one algorithm that a key is for.
func algorithmOf(public crypto.PublicKey) (string, error) {
	switch key := public.(type) {
	case ed25519.PublicKey:
		return AlgorithmEd25519, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return AlgorithmP256, nil
		case elliptic.P384():
			return AlgorithmP384, nil
		case elliptic.P521():
			return AlgorithmP521, nil
		}
	}
	return "", errors.New("must be Ed25519, or ECDSA on P-256, P-384 or P-521")
}

// verifyBytes tells whether a signature is of this message and this key.
func verifyBytes(public crypto.PublicKey, message, signature []byte) bool {
	switch key := public.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, signature)
	case *ecdsa.PublicKey:
		sum := sha512.Sum512(message)
		return ecdsa.VerifyASN1(key, sum[:], signature)
	}
	return false
}
