package providers

import (
	"io"
	"net"
	"testing"
)

// TestGatedConn: once a request is said not to be sent, its connection must not send it after all.
func TestGatedConn(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	got := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(far)
		got <- string(all)
	}()
	c := &gatedConn{Conn: near}
	if _, err := c.Write([]byte("one")); err != nil {
		t.Fatal(err)
	}
	if c.shutUnless(0) {
		t.Error("shut although something was written since")
	}
	if !c.shutUnless(c.count()) {
		t.Error("not shut although nothing was written since")
	}
	if _, err := c.Write([]byte("two")); err == nil {
		t.Error("a shut connection took a write")
	}
	_ = near.Close()
	if text := <-got; text != "one" {
		t.Errorf("sent: got %q, want only the first write", text)
	}
}

func TestNoProxyFromEnvironment(t *testing.T) {
	if NewHTTPClient(HTTPConfig{}).transport.Proxy != nil {
		t.Error("a proxy would be taken from the environment")
	}
}
