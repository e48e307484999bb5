package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/gopenpgp/v3/crypto"

	"refundworker/providers/simulator"
	"refundworker/schemas"
)

// The README's JSON is not drawn, it works: each block says after "json" what it is, and is read by what reads such a thing.

// jsonBlock is a fenced block of JSON and what it is said to be.
var jsonBlock = regexp.MustCompile("(?m)^```json ?(.*)\n((?s:.*?))^```$")

// blocks are the README's blocks of a sort.
func blocks(t *testing.T, sort string) []string {
	t.Helper()
	var found []string
	for _, b := range jsonBlock.FindAllStringSubmatch(readme(t), -1) {
		if b[1] == sort {
			found = append(found, b[2])
		}
	}
	if len(found) == 0 {
		t.Fatalf("README.md has no block of JSON that is said to be %q", sort)
	}
	return found
}

// A block that nothing reads could say anything.
func TestReadmeJSONIsRead(t *testing.T) {
	read := map[string]bool{"settings": true, "command": true, "notice": true, "seed": true}
	all := jsonBlock.FindAllStringSubmatch(readme(t), -1)
	for _, b := range all {
		if !read[b[1]] {
			t.Errorf("nothing reads this block of JSON, which is said to be %q:\n%s", b[1], b[2])
		}
	}
	if fences := strings.Count(readme(t), "```json"); fences != len(all) {
		t.Errorf("%d blocks of JSON begin, and %d were found", fences, len(all))
	}
}

// readmeSettings are the README's settings, read as the program reads them.
func readmeSettings(t *testing.T) *settings {
	t.Helper()
	return loadExample(t, blocks(t, "settings")[0])
}

func TestReadmeSettings(t *testing.T) {
	for _, text := range blocks(t, "settings") {
		loadExample(t, text)
	}
	s := readmeSettings(t)
	if s.embedded() || s.edge.tls == nil || len(s.reports) != 3 {
		t.Errorf("the first settings are embedded: %t, with TLS: %t, %d providers report, want joined servers, TLS and 3", s.embedded(),
			s.edge.tls != nil, len(s.reports))
	}
}

// loadExample reads settings beside the files that the README names, in an environment that has every secret.
func loadExample(t *testing.T, text string) *settings {
	t.Helper()
	dir := t.TempDir()
	for name, content := range exampleFiles(t) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "settings.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := func(name string) string {
		if strings.HasPrefix(name, "REFUND_") {
			return ""
		}
		return "s3cret"
	}
	s, err := overrides{config: path, natsListen: defaultNATSListen}.load(secret)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return s
}

func exampleFiles(t *testing.T) map[string]string {
	t.Helper()
	merchant, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := pgpKey(t), pgpKey(t)
	private, err := ours.Armor()
	if err != nil {
		t.Fatal(err)
	}
	public, err := theirs.GetArmoredPublicKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t)
	return map[string]string{"worker.creds": "s3cret", "merchant.pem": encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(merchant)),
		"ours.asc": private, "theirs.asc": public, "edge.pem": cert, "edge.key": key}
}

func pgpKey(t *testing.T) *crypto.Key {
	t.Helper()
	key, err := crypto.PGP().KeyGeneration().AddUserId("example", "example@example.com").New().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certificate is one that signs itself, and its key, as PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", pkcs8)
}

// A command of the README is one that the worker takes, options and all.
func TestReadmeCommands(t *testing.T) {
	for _, text := range blocks(t, "command") {
		for _, line := range values(t, text) {
			var named struct{ Provider schemas.ProviderName }
			if err := json.Unmarshal(line, &named); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if _, err := schemas.DecodeCommand(line, schemas.Arrival{Provider: named.Provider}); err != nil {
				t.Errorf("%v: %s", err, line)
			}
		}
	}
}

func TestReadmeNotices(t *testing.T) {
	for _, text := range blocks(t, "notice") {
		for _, line := range values(t, text) {
			if _, err := schemas.DecodeNotice(line); err != nil {
				t.Errorf("%v: %s", err, line)
			}
		}
	}
}

// values are the JSON values of a block, one after the other.
func values(t *testing.T, text string) (all []json.RawMessage) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var value json.RawMessage
		err := d.Decode(&value)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		all = append(all, value)
	}
}

// The README's seeds start a simulator; only a merchant's public key is cut short there.
func TestReadmeSeeds(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(encodePEM("PUBLIC KEY", der))
	if err != nil {
		t.Fatal(err)
	}
	cut := []byte(`"-----BEGIN PUBLIC KEY-----\n…"`)
	for _, text := range blocks(t, "seed") {
		sim := simulator.New(simulator.Options{})
		defer sim.Close()
		if err := sim.Seed(bytes.NewReader(bytes.ReplaceAll([]byte(text), cut, public))); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
}
