package signing

import (
	"crypto/ed25519"
	"fmt"
	"strings"

	"github.com/dunglas/httpsfv"
)

// component is a part of a request that a signature covers, with its value as the receiver sees it.
type component struct{ name, value string }

// signMessage makes an HTTP message signature: the values of signature-input and signature for the label.
//
// The base of the signature is written here and not by github.com/yaronf/httpsign: that takes `created` from its own clock,
// and cannot sign a request with a query that is no form (?a;b, ?100%), though a URL may have one. Its verifier checks what
// is made here, in the tests; httpsfv writes all structured fields.
func signMessage(key ed25519.PrivateKey, label string, covered []component, params *httpsfv.Params) (input, signature string, err error) {
	list := httpsfv.InnerList{Params: params}
	var base strings.Builder
	for _, c := range covered {
		list.Items = append(list.Items, httpsfv.NewItem(c.name))
		base.WriteString(`"` + c.name + `": ` + c.value + "\n") // our names need no escaping
	}
	what, err := httpsfv.Marshal(list)
	if err != nil {
		return "", "", fmt.Errorf("parameters: %w", err)
	}
	base.WriteString(`"@signature-params": ` + what)
	bytes, err := httpsfv.Marshal(httpsfv.NewItem(ed25519.Sign(key, []byte(base.String()))))
	if err != nil {
		return "", "", err
	}
	return label + "=" + what, label + "=" + bytes, nil
}
