package seal

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	jose "github.com/go-jose/go-jose/v4"
)

// memoryLimit is what opening a message may allocate in all, so that it surely never holds more.
const memoryLimit = 64 << 20

// allocated is how much memory a call asks for from first to last.
func allocated(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// deflated is a stream that inflates to first and then n MiB of spaces.
func deflated(t testing.TB, first []byte, n int) []byte {
	t.Helper()
	compress := func(text []byte, last bool) []byte {
		var out bytes.Buffer
		w, err := flate.NewWriter(&out, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		end := w.Flush
		if last {
			end = w.Close
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	// Flushed streams can be strung together, so a GiB is never held here.
	stream := compress(first, false)
	stream = append(stream, bytes.Repeat(compress(bytes.Repeat([]byte(" "), 1<<20), false), n)...)
	return append(stream, compress(nil, true)...)
}

// A stranger who knows our public key sends a megabyte that inflates to a gigabyte. It is refused after a fraction.
func TestPGPBombIsRefusedInLittleMemory(t *testing.T) {
	us := mustNew(t, pgpConfigOf(t, asList(entity(t, "rsa-ours")), asList(entity(t, "rsa-theirs"))))
	const gib = 1 << 30
	literal := binary.BigEndian.AppendUint32([]byte{0xc0 | 11, 0xff}, gib+6)
	for name, first := range map[string][]byte{
		"one huge document":   append(literal, 'b', 0, 0, 0, 0, 0),
		"a huge other packet": binary.BigEndian.AppendUint32([]byte{0xc0 | 60, 0xff}, gib),
		"no packet at all":    {0x20},
	} {
		t.Run(name, func(t *testing.T) {
			stream := deflated(t, first, gib>>20)
			compressed := binary.BigEndian.AppendUint32([]byte{0xc0 | 8, 0xff}, uint32(len(stream)+1))
			message := encode(handmade(t, entity(t, "rsa-ours"), append(append(compressed, 1), stream...)))
			if size := len(message); size < 1<<20 || size > 2<<20 {
				t.Fatalf("the bomb has %d bytes", size)
			}
			var err error
			if got := allocated(func() { _, err = us.Open(message) }); got > memoryLimit {
				t.Errorf("got %d MiB allocated, want at most %d", got>>20, memoryLimit>>20)
			}
			if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrEncryption) {
				t.Errorf("got %v, want a refusal", err)
			}
			if name == "one huge document" && !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v, want %v", err, ErrTooLarge)
			}
		})
	}
}

// Packets that are passed over count as well: behind more of them than a document may have, even a good one is not read.
func TestPGPInflatesNoFurtherThanAllowed(t *testing.T) {
	ours, theirs := entity(t, "rsa-ours"), entity(t, "rsa-theirs")
	cfg := pgpConfigOf(t, asList(ours), asList(theirs))
	cfg.MaxSize = 10_000
	us := mustNew(t, cfg)
	good := signedPackets(t, theirs, func(*packet.Signature) {})
	for junk, want := range map[int]error{1000: nil, 10_000 + sealOverhead: ErrEncryption} {
		first := binary.BigEndian.AppendUint32([]byte{0xc0 | 60, 0xff}, uint32(junk))
		stream := deflated(t, append(append(first, make([]byte, junk)...), good...), 0)
		compressed := binary.BigEndian.AppendUint32([]byte{0xc0 | 8, 0xff}, uint32(len(stream)+1))
		if _, err := us.Open(encode(handmade(t, ours, append(append(compressed, 1), stream...)))); !errors.Is(err, want) {
			t.Errorf("behind %d bytes: got %v, want %v", junk, err, want)
		}
	}
}

// The same with "zip":"DEF" in a JWE; a smaller one, which the library has to stop, is stopped.
func TestJOSEBombIsRefusedInLittleMemory(t *testing.T) {
	ours := joseKeys(t, "ours")
	us := mustNew(t, joseConfigOf(t, ours, joseKeys(t, "theirs")))
	for _, mib := range []int{1024, 150} {
		message := jweAround(t, ours[1], deflated(t, nil, mib))
		if size := len(message); size < mib<<10 || size > mib<<11 {
			t.Fatalf("the bomb has %d bytes", size)
		}
		var err error
		if got := allocated(func() { _, err = us.Open(message) }); got > memoryLimit {
			t.Errorf("%d MiB: got %d MiB allocated, want at most %d", mib, got>>20, memoryLimit>>20)
		}
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d MiB: got %v, want %v", mib, err, ErrTooLarge)
		}
	}
}

// A compressed message may be a fifth of the largest document, because the library may inflate it tenfold.
func TestJOSECompressedMessagesAreSmall(t *testing.T) {
	ours, theirs := joseKeys(t, "ours"), joseKeys(t, "theirs")
	cfg := joseConfigOf(t, ours, theirs)
	cfg.MaxSize = 10_000
	us := mustNew(t, cfg)
	noise := make([]byte, 9000)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	inner := signed(t, theirs[0], noise)
	for zipped, want := range map[bool]error{false: nil, true: ErrTooLarge} {
		if _, err := us.Open(encrypted(t, jwe{to: ours[1], inner: inner, zip: zipped})); !errors.Is(err, want) {
			t.Errorf("compressed %t: got %v, want %v", zipped, err, want)
		}
	}
}

// jweAround is a JWE whose content is already compressed.
func jweAround(t *testing.T, to jose.JSONWebKey, content []byte) []byte {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	header := b64([]byte(`{"alg":"RSA-OAEP-256","enc":"A256GCM","zip":"DEF","kid":"` + to.KeyID + `"}`))
	key, nonce := make([]byte, 32), make([]byte, 12)
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &to.Key.(*rsa.PrivateKey).PublicKey, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	both := gcm.Seal(nil, nonce, content, []byte(header))
	body, tag := both[:len(content)], both[len(content):]
	return []byte(header + "." + b64(wrapped) + "." + b64(nonce) + "." + b64(body) + "." + b64(tag))
}
