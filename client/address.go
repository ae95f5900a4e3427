package client

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// ServerPort is the one that servers listen on.
const ServerPort = "7443"

// Address makes the address of a server of what people write for it: a host, host:port, or https://host:port.
// Without a port it is the one that servers listen on.
func Address(text string) (string, error) {
	text = strings.TrimSpace(text)
	bad := newError("invalid", "%q is no address of a server; write a host, host:port or https://host:port", text)
	if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() {
		text = "[" + text + "]" // as it is written without a port
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(u.Host, ":"):
		return "", bad
	case u.Scheme == "http":
		return "", newError("invalid", "%q is not encrypted, and servers speak https only; write https://%s", text, u.Host)
	case u.Scheme != "https":
		return "", bad
	}
	port := u.Port()
	if port == "" {
		port = ServerPort
	}
	return "https://" + net.JoinHostPort(u.Hostname(), port) + strings.TrimRight(u.EscapedPath(), "/"), nil
}
