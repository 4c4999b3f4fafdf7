package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"code.dny.dev/ssrf"
)

// errForbidden: an address that was to be dialled is not one of the public internet.
var errForbidden = errors.New("the address is not one of the public internet")

// guard says which addresses may be dialled. The ranges are those of IANA's registries of special purposes, in a library
// that follows them: IPv4 but the special ranges; IPv6 within 2000::/3 but the special ranges. So what stands for an IPv4
// address (mapped, compatible, NAT64, 6to4, Teredo) is refused whatever it stands for, and so is what is not assigned yet.
type guard struct{ ranges *ssrf.Guardian }

// azureHost is the address under which every virtual machine of Azure finds its host's services. It looks public, and
// belongs to nobody else. (The like of other clouds is within the ranges: 169.254.169.254, 100.100.100.200, fd00:ec2::254.)
var azureHost = netip.PrefixFrom(netip.AddrFrom4([4]byte{168, 63, 129, 16}), 32)

// newGuard allows any port: receivers listen where they like, and what does not speak TLS gets no byte of a request.
func newGuard() guard {
	return guard{ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(azureHost))}
}

// check takes network and address as a dialer is about to use them: "tcp4" or "tcp6", an IP address and a port.
func (g guard) check(network, address string) error {
	if err := g.ranges.Safe(network, address, nil); err != nil {
		return fmt.Errorf("%w: %w", errForbidden, err)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", errForbidden, err)
	}
	if isISATAP(to.Addr()) {
		return fmt.Errorf("%w: %s is for a tunnel to an IPv4 address", errForbidden, to.Addr())
	}
	return nil
}

// isISATAP tells an address whose second half is 0000:5efe or 0200:5efe and an IPv4 address (RFC 5214), under any prefix. A
// host with such a tunnel sends to that IPv4 address.
func isISATAP(a netip.Addr) bool {
	if !a.Is6() {
		return false
	}
	b := a.As16()
	return b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// dial resolves a name and tries its addresses. The dialer asks before each connection, for the address that it really uses.
func (s *Sender) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !s.cfg.AllowInsecure {
		address = rooted(address)
	}
	var refused atomic.Bool // addresses of both families are tried at the same time
	d := net.Dialer{
		Timeout:  s.cfg.Timeouts.Connect,
		Resolver: s.cfg.Resolver,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			err := s.permit(network, address)
			if errors.Is(err, errForbidden) {
				refused.Store(true)
			}
			return err
		},
	}
	conn, err := d.DialContext(ctx, network, address)
	// The dialer tells of the first address alone. That one was forbidden is what the client can do something about.
	if err != nil && refused.Load() && !errors.Is(err, errForbidden) {
		err = fmt.Errorf("%w; of another address: %w", err, errForbidden)
	}
	return conn, err
}

// rooted ends the name with a dot, so that the resolver does not try it with the search domains of this machine as well,
// which are those of internal names.
func rooted(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return address
	}
	return net.JoinHostPort(host+".", port)
}
