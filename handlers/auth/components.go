package auth

import (
	"bytes"
	"cmp"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"

	"closure/domain"
)

// The headers of signed requests.
const (
	headerContentDigest    = "content-digest"
	headerSignature        = "signature"
	headerSignatureInput   = "signature-input"
	headerSignatureVersion = "upvest-signature-version"

	// signatureLabel and signatureDraft are what CONTRACT says of HTTP message signatures.
	signatureLabel = "sig1"
	signatureDraft = "15"
	digestName     = "sha-512"
)

// A header that begins with one of these need not be covered: so it is in the public API, whose signers leave them out.
var ignoredPrefixes = []string{"cf-", "cdn-", "cookie", "x-", "priority", "upvest-signature", "sec-"}

// Nor need these: the signature itself, what a client's library or a proxy adds after it was made, and what is of one
// connection. Nothing of them changes what a request does. The last three are of W3C trace context.
var ignoredHeaders = []string{
	headerSignature, headerSignatureInput, "user-agent", "accept-encoding",
	"host", "connection", "keep-alive", "proxy-connection", "upgrade", "expect", "te", "trailer", "transfer-encoding", "via", "forwarded",
	"traceparent", "tracestate", "baggage",
}

func ignored(name string) bool {
	return slices.Contains(ignoredHeaders, name) ||
		slices.ContainsFunc(ignoredPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// required are the components that a signature has to cover, sorted but for the derived ones, which come first.
func required(r *http.Request, body []byte) []string {
	derived := []string{"@method", "@path"}
	if r.URL.RawQuery != "" {
		derived = append(derived, "@query")
	}
	var headers []string
	for name := range r.Header {
		name = strings.ToLower(name)
		// Clients' libraries add a content-length of 0, of their own accord.
		if ignored(name) || name == "content-length" && len(body) == 0 {
			continue
		}
		headers = append(headers, name)
	}
	if len(body) > 0 && len(r.Header.Values(headerContentDigest)) == 0 {
		headers = append(headers, headerContentDigest)
	}
	slices.Sort(headers)
	return append(derived, headers...)
}

// component is the value of what is covered, as it stands in the base of the signature (RFC 9421, 2).
func component(r *http.Request, name string) (string, error) {
	switch name {
	case "@method":
		return cmp.Or(r.Method, http.MethodGet), nil
	case "@path":
		return cmp.Or(r.URL.EscapedPath(), "/"), nil
	case "@query":
		return "?" + r.URL.RawQuery, nil
	case "host": // net/http keeps it apart
		return strings.ToLower(r.Host), nil
	}
	if strings.HasPrefix(name, "@") {
		return "", unauthenticated("signature-input: it covers " + domain.Quote(name) + ", which cannot be covered: only @method, @path, @query and headers")
	}
	if name != strings.ToLower(name) {
		return "", unauthenticated("signature-input: the name " + domain.Quote(name) + " must be in lower case")
	}
	values := r.Header.Values(name)
	if len(values) == 0 {
		return "", unauthenticated("signature-input: it covers " + domain.Quote(name) + ", which is not in the request")
	}
	trimmed := make([]string, len(values))
	for i, value := range values {
		trimmed[i] = strings.TrimSpace(value)
	}
	return strings.Join(trimmed, ", "), nil
}

// signatureBase is what is signed (RFC 9421, 2.5).
//
// It is written here and not by github.com/yaronf/httpsign, which signs ECDSA as RFC 9421 does (SHA-256 or 384, no DER), takes
// the time from its own clock, and cannot take a query that is no form. The tests compare the two where they can do the same;
// httpsfv reads and writes all structured fields.
func signatureBase(r *http.Request, covered httpsfv.InnerList) ([]byte, error) {
	var base bytes.Buffer
	for _, item := range covered.Items {
		name, _ := item.Value.(string)
		value, err := component(r, name)
		if err != nil {
			return nil, err
		}
		quoted, err := httpsfv.Marshal(item)
		if err != nil {
			return nil, unauthenticated("signature-input: a component cannot be read")
		}
		base.WriteString(quoted + ": " + value + "\n")
	}
	params, err := httpsfv.Marshal(covered)
	if err != nil {
		return nil, unauthenticated("signature-input: it cannot be read")
	}
	base.WriteString(`"@signature-params": ` + params)
	return base.Bytes(), nil
}

// contentDigest is the header of RFC 9530.
func contentDigest(body []byte) string {
	sum := sha512.Sum512(body)
	return digestName + "=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// checkDigest compares the header with the body. Digests by other algorithms do not count.
func checkDigest(values []string, body []byte) error {
	sum := sha512.Sum512(body)
	all, err := httpsfv.UnmarshalDictionary(values)
	if err == nil {
		if member, ok := all.Get(digestName); ok {
			if item, ok := member.(httpsfv.Item); ok {
				if given, ok := item.Value.([]byte); ok && bytes.Equal(given, sum[:]) {
					return nil
				}
				return unauthenticated("content-digest: it is not the sha-512 of the body")
			}
		}
	}
	return unauthenticated("content-digest: must be sha-512=:…: with the SHA-512 of the body in Base64")
}
