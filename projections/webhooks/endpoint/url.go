package endpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	maxURL   = 2048 // bytes
	maxName  = 253  // bytes of a DNS name
	maxLabel = 63   // bytes between two dots of it
)

// privateNames are the ends of names that are never public: reserved for it (RFC 6761, RFC 6762, RFC 8375, ICANN's
// .internal), or in wide use inside of networks and for that reason never given out. What they resolve to is checked as any
// other address; they are refused here so that the client learns it when it subscribes. The names of documents and tests
// (example, test, invalid) are let through: they resolve to nothing.
var privateNames = []string{
	"localhost", "local", "localdomain", "internal", "home.arpa", "lan", "home", "corp", "mail", "intranet", "private",
}

// CheckURL says whether a URL may be subscribed. The error says what the URL must be ("must be …"), and does not repeat it.
//
// It must be https to a DNS name, of ASCII letters as they are sent (an international name in its xn-- form), with two
// labels or more, and any port. With AllowInsecure it may be http, and the host may be anything. Neither user nor fragment is
// allowed: the one would be sent nowhere safe, the other nowhere at all. What the name resolves to is not looked at: it
// counts only when it is dialled.
func (s *Sender) CheckURL(raw string) error {
	if len(raw) > maxURL {
		return fmt.Errorf("must be at most %d bytes long, and has %d", maxURL, len(raw))
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return errors.New("must be an absolute URL: https, a host and a path")
	case u.User != nil:
		return errors.New("must not carry a user or a password")
	case strings.Contains(raw, "#"):
		return errors.New("must have no fragment")
	}
	if err := checkPort(u); err != nil {
		return err
	}
	if s.cfg.AllowInsecure {
		if u.Scheme != "https" && u.Scheme != "http" {
			return errors.New("must be an http or https URL")
		}
		return nil
	}
	if u.Scheme != "https" {
		return errors.New("must be an https URL")
	}
	return checkName(strings.ToLower(u.Hostname()))
}

// checkPort: url.Parse has seen to it that there are digits only.
func checkPort(u *url.URL) error {
	if u.Port() == "" && !strings.HasSuffix(u.Host, ":") {
		return nil
	}
	if port, err := strconv.Atoi(u.Port()); err != nil || port < 1 || port > 65535 {
		return errors.New("must have a port from 1 to 65535, or none")
	}
	return nil
}

// checkName takes a host in lower case.
func checkName(host string) error {
	// Strict in what a name is made of: what a resolver would take for an address, or would turn into another name, is none.
	if _, err := netip.ParseAddr(host); err == nil {
		return errors.New("must have a DNS name for a host, not an IP address")
	}
	if len(host) > maxName {
		return fmt.Errorf("must have a host of at most %d bytes", maxName)
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return errors.New("must have a DNS name for a host: labels of 1 to 63 ASCII letters, digits and hyphens with single dots " +
				"between them; an international name in its xn-- form")
		}
	}
	if len(labels) < 2 {
		return errors.New("must have a full DNS name for a host, as in hooks.bank.example")
	}
	// 127.1, 0x7f.1 and 1.0177 are addresses to some resolvers; no top-level name has digits only, or begins with one.
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return errors.New("must have a DNS name for a host: its last label begins with a letter")
	}
	if slices.ContainsFunc(privateNames, func(end string) bool { return strings.HasSuffix("."+host, "."+end) }) {
		return errors.New("must have a public DNS name for a host, not one of a local network")
	}
	return nil
}

// isLabel allows the underscore: it is in no host name of the standards, and in some of the world.
func isLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(label, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}
