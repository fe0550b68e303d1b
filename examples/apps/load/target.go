package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"
)

// sharedAddressSpace is RFC 6598's, which some clusters use for pods and services.
var sharedAddressSpace = netip.MustParsePrefix("100.64.0.0/10")

// allowed says whether an address is loopback or one that only exists inside a network. A load generator that can be
// pointed at the world by a typing error is a weapon. Link-local is refused as well: a cloud's metadata server is there.
func allowed(address netip.Addr) bool {
	address = address.Unmap()
	return address.IsLoopback() || address.IsPrivate() || sharedAddressSpace.Contains(address)
}

// checkTarget refuses a target before the first request is sent, with a sentence that says what to do.
func checkTarget(ctx context.Context, target string, anyTarget bool) error {
	parsed, err := url.Parse(target)
	if err != nil {
		return err
	}
	if parsed.Scheme != "http" || parsed.Hostname() == "" {
		return fmt.Errorf("target %q: expected http://HOST:PORT/PATH", target)
	}
	if anyTarget {
		return nil
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", parsed.Hostname())
	if err != nil {
		return fmt.Errorf("target %q: %w", target, err)
	}
	for _, address := range addresses {
		if !allowed(address) {
			return refused(address)
		}
	}
	return nil
}

// checkConnection looks at the address that is really connected to: a name may mean something else by then.
func checkConnection(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !allowed(peer.Addr()) {
		return refused(peer.Addr())
	}
	return nil
}

func refused(address netip.Addr) error {
	return fmt.Errorf("target address %s is neither loopback nor private; if it is yours to load, say --allow-any-target", address)
}
