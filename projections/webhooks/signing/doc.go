// Package signing makes webhook requests that their receivers can verify, in two ways at once (CONTRACT: Webhooks):
//
//   - Standard Webhooks (standardwebhooks.com): webhook-id, webhook-timestamp, and webhook-signature with one "v1" (HMAC-
//     SHA256) for each secret of the subscription that is valid, and one "v1a" (Ed25519) for each key of the engine that is.
//   - HTTP message signatures (draft 15 of what became RFC 9421): content-digest, signature-input and signature, labelled
//     sig1, with the engine's newest key.
//
// Every call of Sign makes all of it anew, so that each attempt has a timestamp, a nonce and signatures of its own; the
// webhook-id is the caller's, and stays. Receivers tell repetitions by it.
//
// # Keys
//
// All engine processes share one Ed25519 key, kept in the bucket CLOSURE_KEYS. The first process that starts creates it;
// the others take what is there. Rotate puts a new key in front: from then on it signs, and for an overlap the one before it
// stays in the JWK set and goes on making a second "v1a". Processes follow the bucket, so a rotation reaches all of them at
// once. A second rotation within an overlap ends the older key: to throw out a key that was stolen, rotate twice.
//
// A signature with the engine's key says that the engine has sent this, and not to whom: all receivers verify with the same
// public key. A receiver that trusts it alone MUST look at the webhook_id in the body, else another client could pass on to
// it what it got itself. The secret of "v1" is known to one subscription only.
//
// # Who can read the private key
//
// It stands in the bucket as PKCS#8 in plain text. To wrap it would need another key beside it, and whoever can read the
// streams of the engine reads the log itself. What an operator can do:
//
//   - Permissions: only the engine's NATS user needs $KV.CLOSURE_KEYS.> and the stream KV_CLOSURE_KEYS. Give all others a
//     list of what they may do ("allow"), without $KV.> and without $JS.API.> as a whole: there are many ways to read a
//     stream, and whoever may create one can copy another. An account of its own for the engine, which exports the events
//     and the commands, does the same. A server without users, as the embedded one, gives everything to whoever can connect
//     to it: keep it on loopback.
//   - Encryption at rest: jetstream { cipher: chachapoly, key: … } in the server's configuration. It also covers the key that
//     a rotation has replaced, which may stay in the file for a while after the server has dropped the message.
//   - Backups of the streams hold the key. Treat them like it, or leave this bucket out: the next start then makes a new one,
//     and receivers that take keys from the JWK set notice nothing.
//
// The secrets of subscriptions stand in their entries, in plain text too: HMAC needs them as they are.
package signing
