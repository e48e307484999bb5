package seal

import (
	"bytes"
	"crypto"
	"crypto/aes"
	_ "crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	"encoding/binary"
	"io"
	"math/big"
	"slices"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// pgpMessage is a message as any other program would make it.
func pgpMessage(t testing.TB, to []*openpgp.Entity, p openpgp.EncryptParams) []byte {
	t.Helper()
	if p.Config == nil {
		p.Config = &packet.Config{Time: at(noon)}
	}
	var out bytes.Buffer
	w, err := openpgp.EncryptWithParams(&out, to, nil, &p)
	if err != nil {
		t.Fatal(err)
	}
	return closed(t, w, &out)
}

// pgpMessageHidden is one whose session keys do not say whom they are for.
func pgpMessageHidden(t testing.TB, to []*openpgp.Entity, p openpgp.EncryptParams) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := openpgp.EncryptWithParams(&out, nil, to, &p)
	if err != nil {
		t.Fatal(err)
	}
	return closed(t, w, &out)
}

func closed(t testing.TB, w io.WriteCloser, out *bytes.Buffer) []byte {
	t.Helper()
	if _, err := w.Write(document); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// handmade encrypts packets to a key, so that a test decides on each of them.
func handmade(t testing.TB, to *openpgp.Entity, packets []byte) []byte {
	t.Helper()
	sessionKey := make([]byte, packet.CipherAES256.KeySize())
	if _, err := rand.Read(sessionKey); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	k, ok := to.EncryptionKey(noon, nil)
	if !ok {
		t.Fatal("no encryption key")
	}
	if err := packet.SerializeEncryptedKey(&out, k.PublicKey, packet.CipherAES256, sessionKey, nil); err != nil {
		t.Fatal(err)
	}
	w, err := packet.SerializeSymmetricallyEncrypted(&out, packet.CipherAES256, false, packet.CipherSuite{}, sessionKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(packets); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// nopCloser lets a literal packet end without ending what it is in.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// signedPackets are a document between a one-pass packet and a signature that the test may change.
func signedPackets(t testing.TB, by *openpgp.Entity, change func(*packet.Signature)) []byte {
	t.Helper()
	key, ok := by.SigningKey(noon, nil)
	if !ok {
		t.Fatal("no signing key")
	}
	sig := &packet.Signature{Version: key.PublicKey.Version, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PublicKey.PubKeyAlgo,
		Hash: crypto.SHA384, CreationTime: noon, IssuerKeyId: &key.PublicKey.KeyId, IssuerFingerprint: key.PublicKey.Fingerprint}
	change(sig)
	var out bytes.Buffer
	ops := &packet.OnePassSignature{Version: 3, SigType: sig.SigType, Hash: sig.Hash, PubKeyAlgo: sig.PubKeyAlgo, KeyId: *sig.IssuerKeyId, IsLast: true}
	if err := ops.Serialize(&out); err != nil {
		t.Fatal(err)
	}
	w, err := packet.SerializeLiteral(nopCloser{&out}, true, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(document); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h := sig.Hash.New()
	h.Write(document)
	if err := sig.Sign(h, key.PrivateKey, nil); err != nil {
		t.Fatal(err)
	}
	if err := sig.Serialize(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// oldSignature is a signed document as a program of any age makes it: the library itself no longer signs with what is broken.
func oldSignature(t *testing.T, by *openpgp.Entity, hash crypto.Hash) []byte {
	t.Helper()
	key, ok := by.SigningKey(noon, nil)
	if !ok {
		t.Fatal("no signing key")
	}
	number := map[crypto.Hash]byte{crypto.MD5: 1, crypto.SHA1: 2, crypto.SHA384: 9}[hash]
	issuer := binary.BigEndian.AppendUint64(nil, key.PublicKey.KeyId)
	hashed := binary.BigEndian.AppendUint32([]byte{4, 0, 1, number, 0, 6, 5, 2}, uint32(noon.Unix()))
	h := hash.New()
	h.Write(document)
	h.Write(hashed)
	h.Write([]byte{4, 0xff, 0, 0, 0, byte(len(hashed))})
	digest := h.Sum(nil)
	signature, err := rsa.SignPKCS1v15(nil, key.PrivateKey.PrivateKey.(*rsa.PrivateKey), hash, digest)
	if err != nil {
		t.Fatal(err)
	}
	mpi := new(big.Int).SetBytes(signature)
	body := slices.Concat(hashed, []byte{0, 10, 9, 16}, issuer, digest[:2], binary.BigEndian.AppendUint16(nil, uint16(mpi.BitLen())), mpi.Bytes())
	onePass := slices.Concat([]byte{0xc0 | 4, 13, 3, 0, number, 1}, issuer, []byte{1})
	literal := slices.Concat([]byte{0xc0 | 11, byte(6 + len(document)), 'b', 0, 0, 0, 0, 0}, document)
	length := len(body) - 192
	return slices.Concat(onePass, literal, []byte{0xc0 | 2, byte(192 + length>>8), byte(length)}, body)
}

// unprotected is a message of the old kind, whose bytes anybody can change without being noticed.
func unprotected(t *testing.T, to *openpgp.Entity, packets []byte) []byte {
	t.Helper()
	sessionKey := make([]byte, packet.CipherAES256.KeySize())
	k, ok := to.EncryptionKey(noon, nil)
	if !ok {
		t.Fatal("no encryption key")
	}
	var out bytes.Buffer
	if err := packet.SerializeEncryptedKey(&out, k.PublicKey, packet.CipherAES256, sessionKey, nil); err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(sessionKey)
	if err != nil {
		t.Fatal(err)
	}
	stream, prefix := packet.NewOCFBEncrypter(block, make([]byte, block.BlockSize()), packet.OCFBResync)
	body := make([]byte, len(packets))
	stream.XORKeyStream(body, packets)
	body = append(prefix, body...)
	out.Write([]byte{0xc0 | 9, 0xff, 0, 0, byte(len(body) >> 8), byte(len(body))})
	out.Write(body)
	return out.Bytes()
}
