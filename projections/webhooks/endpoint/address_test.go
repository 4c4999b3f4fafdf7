package endpoint_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"closure/projections/webhooks/endpoint"
)

// forbidden has the first, the last and some other address of each range that may not be dialled.
var forbidden = map[string]string{
	"this network, unspecified":    "0.0.0.0 0.0.0.1 0.255.255.255 ::",
	"private":                      "10.0.0.0 10.1.2.3 10.255.255.255 172.16.0.0 172.20.0.1 172.31.255.255 192.168.0.0 192.168.1.1 192.168.255.255",
	"carrier-grade NAT":            "100.64.0.0 100.100.100.200 100.127.255.255",
	"loopback":                     "127.0.0.0 127.0.0.1 127.1.2.3 127.255.255.255 ::1",
	"link-local":                   "169.254.0.0 169.254.169.254 169.254.255.255 fe80:: fe80::1 febf:ffff::1 fe80::1%eth0",
	"protocol assignments":         "192.0.0.0 192.0.0.8 192.0.0.170 192.0.0.192 192.0.0.255 2001:: 2001:1::1 2001:1ff:ffff::1",
	"documentation":                "192.0.2.0 192.0.2.255 198.51.100.1 203.0.113.255 2001:db8:: 2001:db8:ffff::1 3fff:: 3fff:fff:ffff::1",
	"6to4 relays":                  "192.88.99.0 192.88.99.1 192.88.99.255",
	"benchmarking":                 "198.18.0.0 198.19.255.255 2001:2::1",
	"multicast":                    "224.0.0.0 224.0.0.251 239.255.255.255 ff00:: ff02::1 ff0e::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	"reserved":                     "240.0.0.0 250.1.2.3 255.255.255.254",
	"broadcast":                    "255.255.255.255",
	"services of a cloud":          "168.63.129.16 fd00:ec2::254 fd20:ce::254",
	"unique local":                 "fc00:: fd00::1 fdff:ffff::1",
	"site-local, once":             "fec0::1 feff::1",
	"IPv4-mapped":                  "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8",
	"IPv4-compatible":              "::127.0.0.1 ::8.8.8.8 ::a9fe:a9fe",
	"IPv4-translated (SIIT)":       "::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8",
	"NAT64, well-known":            "64:ff9b:: 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::808:808 64:ff9b::ffff:ffff",
	"NAT64, local":                 "64:ff9b:1:: 64:ff9b:1::7f00:1 64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
	"6to4":                         "2002:: 2002:7f00:1::1 2002:a9fe:a9fe::1 2002:808:808::1 2002:ffff:ffff::1",
	"Teredo":                       "2001:0:: 2001:0:7f00:1::1 2001:0:4136:e378:8000:63bf:80ff:fffe",
	"ISATAP":                       "2606:4700::5efe:7f00:1 2606:4700::200:5efe:a00:1 2a00:1450:4001:82a:0:5efe:808:808",
	"ORCHID, DRIP, AMT, AS112":     "2001:10::1 2001:20::1 2001:30::1 2001:3::1 2001:4:112::1 2620:4f:8000::1 192.52.193.1 192.31.196.1 192.175.48.1",
	"discard-only":                 "100:: 100::1",
	"segment routing":              "5f00::1",
	"outside of the global ranges": "1:: 1fff:ffff::1 4000::1 8000::1 e000::1",
}

// public addresses, next to forbidden ranges where they can be.
const public = `1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15 168.63.129.17
	169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255
	192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
	2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1 2606:4700:4700::1111 2620:4f:7fff::1 2a00:1450:4001:82a::200e
	2606:4700::5eff:7f00:1 2606:4700::400:5efe:7f00:1 3ffe:ffff::1`

func TestForbiddenAddresses(t *testing.T) {
	for name, list := range forbidden {
		t.Run(name, func(t *testing.T) {
			for _, a := range strings.Fields(list) {
				err := endpoint.CheckAddress(dialled(a))
				require.ErrorIs(t, err, endpoint.ErrForbidden, a)
			}
		})
	}
	for _, a := range strings.Fields(public) {
		require.NoError(t, endpoint.CheckAddress(dialled(a)), a)
	}
	for _, bad := range [][2]string{{"tcp4", ""}, {"tcp4", "8.8.8.8"}, {"tcp4", "example.com:443"}, {"udp4", "8.8.8.8:443"}, {"unix", "/tmp/socket"}} {
		require.ErrorIs(t, endpoint.CheckAddress(bad[0], bad[1]), endpoint.ErrForbidden, bad)
	}
}

// dialled is how a dialer shows an address to its check.
func dialled(address string) (string, string) {
	a := netip.MustParseAddr(address)
	if a.Is4() {
		return "tcp4", netip.AddrPortFrom(a, 443).String()
	}
	return "tcp6", netip.AddrPortFrom(a, 8443).String()
}

// TestForbiddenAddressesAreNotDialled goes the whole way, with names that a DNS server resolves.
func TestForbiddenAddressesAreNotDialled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.sender(t, within(nil))
	n := 0
	for name, list := range forbidden {
		for _, a := range strings.Fields(list) {
			addr := netip.MustParseAddr(a)
			if addr.Zone() != "" || addr.Is4In6() && !addr.Unmap().IsPrivate() && !addr.Unmap().IsLoopback() {
				continue // the one is not in DNS; the other is dialled as the public IPv4 address that it stands for
			}
			if addr.Unmap().Is6() && !hasIPv6() {
				continue // the dialer does not get as far as the check
			}
			n++
			host := fmt.Sprintf("range-%d.example.com", n)
			r.zone.set(host, a)
			out := s.Post(testContext(t), endpoint.Request{URL: "https://" + host + "/", Body: []byte("{}")})
			require.Equal(t, endpoint.AddressForbidden, out.Failure, "%s: %s: %v", name, a, out.Err)
			require.Zero(t, out.Status)
			requireSafe(t, out, a, host)
		}
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// requireSafe: what a client is shown says nothing of addresses and names.
func requireSafe(t testing.TB, out endpoint.Outcome, secrets ...string) {
	t.Helper()
	require.Contains(t, endpoint.Failures(), out.Failure)
	require.NotEmpty(t, out.Detail)
	for _, s := range append(secrets, "127.0.0.1", "s3cret", "://", "example.com") {
		require.NotContains(t, out.Detail, s)
	}
}

// TestReboundName: a name that is public when it is first resolved, and this machine when it is next.
func TestReboundName(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "inside.example.com", ok, nil)
	r.setPublic(target.address, false)
	r.instead["93.184.215.14"] = syscall.ECONNREFUSED
	port := target.address[strings.LastIndex(target.address, ":"):]
	post := func(s *endpoint.Sender, name string) endpoint.Outcome {
		return s.Post(testContext(t), endpoint.Request{URL: "https://" + name + port + "/"})
	}

	s := r.sender(t, within(nil))
	r.zone.set("rebound.example.com", "93.184.215.14", "127.0.0.1")
	out := post(s, "rebound.example.com")
	require.Equal(t, endpoint.Refused, out.Failure, out.Err)
	require.Equal(t, "93.184.215.14"+port, out.Remote)
	out = post(s, "rebound.example.com")
	require.Equal(t, endpoint.AddressForbidden, out.Failure, out.Err)
	require.Equal(t, target.address, out.Remote, "the log shows it")
	requireSafe(t, out)

	// Both in one answer: the resolver may change their order; the public one is tried, and the other one never.
	r.zone.set("both.example.com", "93.184.215.14 127.0.0.1")
	r.permits = nil
	out = post(s, "both.example.com")
	require.Equal(t, endpoint.AddressForbidden, out.Failure, out.Err)
	slices.Sort(r.permits)
	require.Equal(t, []string{target.address, "93.184.215.14" + port}, r.permits)

	// The dialer tells of the first address that failed; the outcome does of the one that is forbidden, first or not.
	for i, list := range []string{"93.184.215.14 10.0.0.1", "10.0.0.1 93.184.215.14"} {
		name := fmt.Sprintf("order-%d.example.com", i)
		r.zone.set(name, list)
		require.Equal(t, endpoint.AddressForbidden, post(s, name).Failure)
	}

	// The same with IPv6, of which a dialer tries both families at once.
	r.zone.set("six.example.com", "93.184.215.14 ::1 ::ffff:127.0.0.1")
	require.Equal(t, endpoint.AddressForbidden, post(s, "six.example.com").Failure)
	require.Zero(t, target.connections.Load(), "the forbidden address was reached")
}

// TestAddressesThatCannotBeReached: public ones, and how the system says so.
func TestAddressesThatCannotBeReached(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.sender(t, within(nil))
	r.zone.set("far.example.com", "93.184.215.14")
	for err, want := range map[error]endpoint.Failure{
		syscall.ENETUNREACH: endpoint.Unreachable, syscall.EHOSTUNREACH: endpoint.Unreachable,
		&net.AddrError{Err: "no suitable address found"}: endpoint.Unreachable,
		syscall.ECONNREFUSED:                             endpoint.Refused, syscall.ETIMEDOUT: endpoint.TimeoutConnect,
		syscall.EMFILE: endpoint.Other,
	} {
		r.instead["93.184.215.14"] = err
		out := s.Post(testContext(t), endpoint.Request{URL: "https://far.example.com"})
		require.Equal(t, want, out.Failure, err)
		require.ErrorIs(t, out.Err, err)
		requireSafe(t, out, "93.184")
	}
}

// TestEveryConnectionIsChecked: that a name was good once does not help it later.
func TestEveryConnectionIsChecked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "turncoat.example.com", func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Connection", "close")
		ok(w, req)
	}, nil)
	s := r.sender(t, within(nil))
	require.Empty(t, s.Post(testContext(t), endpoint.Request{URL: target.url}).Failure)
	r.setPublic(target.address, false)
	require.Equal(t, endpoint.AddressForbidden, s.Post(testContext(t), endpoint.Request{URL: target.url}).Failure)
	require.EqualValues(t, 1, target.connections.Load())
}

// TestOneGoodAddressIsEnough: the addresses that are forbidden are passed over.
func TestOneGoodAddressIsEnough(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	target := r.serve(t, "mixed.example.com", ok, nil)
	r.zone.answers["mixed.example.com"] = nil
	r.zone.set("mixed.example.com", "10.0.0.1 127.0.0.1 fd00::1")
	out := r.sender(t, within(nil)).Post(testContext(t), endpoint.Request{URL: target.url})
	require.Empty(t, out.Failure, out.Err)
	require.Equal(t, target.address, out.Remote)
}

func TestNamesThatDoNotResolve(t *testing.T) {
	t.Parallel()
	z := newZone(t)
	z.broken["broken.example.com"] = true
	z.set("empty.example.com", "")
	s := endpoint.New(endpoint.Config{Timeouts: within(nil), Resolver: z.resolver()})
	for name, detail := range map[string]string{
		"nowhere.example.com": "has no address", "empty.example.com": "has no address", "broken.example.com": "give no proper answer",
	} {
		out := s.Post(testContext(t), endpoint.Request{URL: "https://" + name})
		require.Equal(t, endpoint.UnknownHost, out.Failure, out.Err)
		require.Contains(t, out.Detail, detail, name)
		requireSafe(t, out)
		// The name is complete as it is: search domains would lead to names of the network that the engine runs in.
		var dns *net.DNSError
		require.True(t, errors.As(out.Err, &dns))
		require.Equal(t, name+".", dns.Name)
	}
}
