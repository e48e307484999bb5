//go:build interop

package seal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"refundworker/providers"
)

// gnupg is a GnuPG with a home of its own and two keys: bob, whose subkey encrypts only, and alice, whose subkey signs too.
type gnupg struct {
	t    *testing.T
	home string
}

func newGnuPG(t *testing.T) gnupg {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Fatalf("gpg is needed (make interop installs it): %v", err)
	}
	g := gnupg{t, t.TempDir()}
	if err := os.Chmod(g.home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("gpgconf", "--homedir", g.home, "--kill", "all").CombinedOutput(); err != nil {
			t.Logf("end gpg's agent: %v: %s", err, out)
		}
	})
	for name, usage := range map[string]string{"alice": "", "bob": "Key-Usage: sign\nSubkey-Usage: encrypt\n"} {
		g.must(fmt.Appendf(nil, "%%no-protection\nKey-Type: RSA\nKey-Length: 2048\nSubkey-Type: RSA\nSubkey-Length: 2048\n%s"+
			"Name-Email: %s@example.com\nExpire-Date: 1y\n%%commit\n", usage, name), "--generate-key")
	}
	return g
}

// run gives a command its input and returns what it writes and its status lines.
func (g gnupg) run(input []byte, args ...string) (output []byte, status string, err error) {
	g.t.Helper()
	args = append([]string{"--homedir", g.home, "--batch", "--yes", "--trust-model", "always", "--status-fd", "2"}, args...)
	cmd := exec.CommandContext(g.t.Context(), "gpg", args...)
	var out, told bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &told
	err = cmd.Run()
	return out.Bytes(), told.String(), err
}

func (g gnupg) must(input []byte, args ...string) []byte {
	g.t.Helper()
	out, status, err := g.run(input, args...)
	if err != nil {
		g.t.Fatalf("gpg %v: %v\n%s", args, err, status)
	}
	return out
}

func (g gnupg) public(name string) string { return string(g.must(nil, "--armor", "--export", name)) }

func (g gnupg) secret(name string) providers.Secret {
	return providers.Secret(g.must(nil, "--armor", "--export-secret-keys", name))
}

// seals works by today: gpg knows no other clock.
func seals(t *testing.T, c Config) *Seal {
	t.Helper()
	c.Clock = time.Now
	return mustNew(t, c)
}

// Whatever way gpg is told to sign and compress, its message opens when one of the signers is known.
func TestInteropMessagesOfGnuPGOpen(t *testing.T) {
	g := newGnuPG(t)
	ours, second := entity(t, "rsa-ours"), entity(t, "new-ours")
	g.must([]byte(publicKey(t, ours)+publicKey(t, second)), "--import")
	both := []string{"--local-user", "alice", "--local-user", "bob"}
	to := func(e *openpgp.Entity) []string {
		return []string{"--recipient", fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)}
	}
	alice, bob := []string{g.public("alice")}, []string{g.public("bob")}
	tests := []struct {
		name  string
		args  []string
		known []string
		want  error
	}{
		{"one signer", slices.Concat([]string{"--local-user", "alice"}, to(ours)), alice, nil},
		{"two signers, both known", slices.Concat(both, to(ours)), slices.Concat(alice, bob), nil},
		{"two signers, the first known", slices.Concat(both, to(ours)), alice, nil},
		{"two signers, the second known", slices.Concat(both, to(ours)), bob, nil},
		{"to both of our keys", slices.Concat(both, to(ours), to(second)), alice, nil},
		{"to the second of our keys", slices.Concat(both, to(second)), alice, nil},
		{"recipients not named", slices.Concat(both, to(ours), []string{"--throw-keyids"}), alice, nil},
		{"ZIP", slices.Concat(both, to(ours), []string{"--compress-algo", "zip"}), alice, nil},
		{"ZLIB", slices.Concat(both, to(ours), []string{"--compress-algo", "zlib"}), alice, nil},
		{"not compressed", slices.Concat(both, to(ours), []string{"--compress-algo", "none"}), alice, nil},
		{"the protocol's algorithms", slices.Concat(both, to(ours), []string{"--digest-algo", "SHA384", "--cipher-algo", "AES256"}), alice, nil},
		{"an unknown signer", slices.Concat([]string{"--local-user", "bob"}, to(ours)), alice, ErrSignature},
		{"SHA-1", slices.Concat(both, to(ours), []string{"--digest-algo", "SHA1"}), alice, ErrSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := pgpConfigOf(t, asList(ours, second), nil)
			cfg.PeerKeys = tt.known
			message := g.must(document, append(tt.args, "--sign", "--encrypt")...)
			got, err := seals(t, cfg).Open(encode(message))
			if tt.want != nil {
				if !errors.Is(err, tt.want) {
					t.Errorf("got %q, %v, want %v", got, err, tt.want)
				}
				return
			}
			if err != nil || !bytes.Equal(got, document) {
				t.Errorf("got %q, %v, want the document", got, err)
			}
		})
	}
	t.Run("unsigned", func(t *testing.T) {
		cfg := pgpConfigOf(t, asList(ours), nil)
		cfg.PeerKeys = alice
		if _, err := seals(t, cfg).Open(encode(g.must(document, append(to(ours), "--encrypt")...))); !errors.Is(err, ErrSignature) {
			t.Errorf("got %v, want %v", err, ErrSignature)
		}
	})
}

// Our messages open in gpg, which sees a good signature of each of our keys that it knows, whichever of its keys it uses.
func TestInteropGnuPGOpensOurMessages(t *testing.T) {
	g := newGnuPG(t)
	first, second := entity(t, "rsa-ours"), entity(t, "new-ours")
	cfg := pgpConfigOf(t, asList(first, second), nil)
	cfg.PeerKeys = []string{g.public("alice"), g.public("bob")}
	message := decode(t, sealed(t, seals(t, cfg)))
	for known, e := range []*openpgp.Entity{first, second} {
		g.must([]byte(publicKey(t, e)), "--import")
		// With an unknown signer gpg decrypts and still ends with an error.
		got, status, err := g.run(message, "--decrypt")
		if !bytes.Equal(got, document) || !strings.Contains(status, "DECRYPTION_OKAY") || !strings.Contains(status, "GOODMDC") {
			t.Fatalf("got %q, %v\n%s", got, err, status)
		}
		if good, unknown := strings.Count(status, "] GOODSIG"), strings.Count(status, "] ERRSIG"); good != known+1 || unknown != 1-known {
			t.Errorf("%d of our keys known: got %d good and %d unknown signatures\n%s", known+1, good, unknown, status)
		}
		// VALIDSIG ends with version, reserved, key and hash algorithm, class and primary key: 9 is SHA-384, 00 is binary.
		sha384 := regexp.MustCompile(`VALIDSIG .* 9 00 [0-9A-F]+\n`)
		if got := len(sha384.FindAllString(status, -1)); got != known+1 {
			t.Errorf("got %d binary signatures by SHA-384, want %d\n%s", got, known+1, status)
		}
	}
	if out := g.must(message, "--list-packets"); !strings.Contains(string(out), "mdc_method: 2") || !strings.Contains(string(out), "compressed packet: algo=1") {
		t.Errorf("not integrity-protected or not ZIP:\n%s", out)
	}
}

// Keys that gpg made and exported serve as ours, also where gpg prefers newer containers for them.
func TestInteropKeysOfGnuPGServe(t *testing.T) {
	g := newGnuPG(t)
	us := seals(t, Config{Mode: PGP, SigningKeys: []providers.Secret{g.secret("alice")}, PeerKeys: []string{g.public("bob")}})
	message := g.must(document, "--local-user", "bob", "--recipient", "alice", "--sign", "--encrypt")
	if got, err := us.Open(encode(message)); err != nil || !bytes.Equal(got, document) {
		t.Errorf("open: got %q, %v", got, err)
	}
	got, status, err := g.run(decode(t, sealed(t, us)), "--decrypt")
	if err != nil || !bytes.Equal(got, document) || strings.Count(status, "] GOODSIG") != 1 {
		t.Errorf("seal: gpg got %q, %v\n%s", got, err, status)
	}
	if ends := us.Expiries(); len(ends) != 6 {
		t.Errorf("got %v, want both uses of alice's key and subkey and one each of bob's", ends)
	}
}
