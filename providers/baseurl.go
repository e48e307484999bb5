package providers

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// ValidBaseURL tells what is wrong with the address of a provider's API. Plain http is only taken for a loopback address
// or a host name without dots: most answers are not signed, so TLS alone vouches for them.
func ValidBaseURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return errors.New("an absolute https url is needed")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("user, query and fragment are not allowed")
	case u.Scheme == "https", u.Scheme == "http" && nearby(u.Hostname()):
		return nil
	}
	return errors.New("https is needed")
}

// nearby tells hosts that no foreign network lies before: this machine, or a neighbour such as a simulator.
func nearby(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return !strings.Contains(host, ".")
}
