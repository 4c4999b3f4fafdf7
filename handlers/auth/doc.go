// Package auth finds out who makes a request, and what it may do: clients and their secrets, access tokens, HTTP message
// signatures.
//
// # Clients
//
// The registry is the bucket CLOSURE_CLIENTS, which all engine processes share and follow, so that a client that is disabled
// is refused everywhere at once; and the clients file of a process, if it has one. A client of the file is not changed by
// commands, and comes before one of the bucket with the same id. Of secrets only the hash is kept (Secret says why it is a
// fast one). Whoever can write the bucket can let anybody in: only the engine and its operators need $KV.CLOSURE_CLIENTS.>.
//
// # Tokens
//
// A client gets a token for its secret (OAuth 2.0 client credentials): a JWT as RFC 9068 has it, signed with Ed25519 by a key
// that all processes know. Beside its signature, times, issuer and audience, each request looks at the client as it is now:
//
//   - A client that is disabled or gone is refused at once. When it is enabled again, its tokens are good again until they
//     expire.
//   - A token has the scopes that both it and the client have: one that is taken from the client is lost at once, one that is
//     given to it needs a new token.
//   - A token ends with the secret that it was got with: at the end of the overlap of a rotation, or at once with an overlap
//     of 0, which is what to do when a secret was stolen.
//
// Or the tokens come from another issuer (Issuer), whose keys are fetched from its JWK set and kept while it is down.
//
// # HTTP message signatures
//
// A client that has a registered key signs each request (draft 15 of what became RFC 9421, in the form that the public API
// has): upvest-signature-version is 15, and signature-input and signature have a member sig1. It covers @method, @path, @query
// when there is one, and every header that is not on a short list of those which may change on the way or do not matter
// (components.go); a body needs content-digest by sha-512. Ed25519, or ECDSA on P-256, P-384 or P-521 over SHA-512 in DER. keyid,
// nonce, created and expires have to be there; expires is at most 10 s after created, and created at most 5 s ahead of our
// clock. A nonce is taken once for a key of a client, across all engine processes: in the bucket CLOSURE_NONCES, which is in the
// memory of the NATS servers. Signatures from before it was made, and from the first 5 s of it, are refused (Unavailable) when
// there was one before, which may have held their nonces: so it is after a restart of the only server.
//
// # What refusals say
//
// An Error tells the client what is wrong with what it has sent. It tells nobody which clients there are: without a token that
// is signed, or a secret, all answers are the same.
package auth
