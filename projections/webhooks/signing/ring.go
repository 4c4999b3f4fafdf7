package signing

import "crypto/ed25519"

// Signer gives the key that signs now, for what is not a webhook. Errors: eventstore.ErrUnavailable before Start and after Stop.
func (k *Keys) Signer() (kid string, private ed25519.PrivateKey, err error) {
	set, err := k.snapshot()
	if err != nil {
		return "", nil, err
	}
	return set.keys[0].id, set.keys[0].private, nil
}

// Verifier gives the public half of a key that is valid now.
func (k *Keys) Verifier(kid string) (ed25519.PublicKey, bool) {
	set, err := k.snapshot()
	if err != nil {
		return nil, false
	}
	for _, one := range set.valid(k.cfg.Now()) {
		if one.id == kid {
			public, ok := one.private.Public().(ed25519.PublicKey)
			return public, ok
		}
	}
	return nil, false
}
