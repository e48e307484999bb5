package seal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var modes = []Mode{Plain, PGP, JOSE}

// What one end seals the other opens, and each seal of a sealing mode is a fresh one.
func TestWhatOneSealsTheOtherOpens(t *testing.T) {
	types := map[Mode]string{
		Plain: "application/json; charset=utf-8",
		PGP:   "application/octet-stream; charset=utf-8",
		JOSE:  "application/jose; charset=utf-8",
	}
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			us, them := pair(t, mode)
			if got := us.ContentType(); got != types[mode] {
				t.Errorf("content type: got %q, want %q", got, types[mode])
			}
			for _, doc := range [][]byte{document, {}, bytes.Repeat([]byte("0123456789abcdef\r\n"), 50_000)} {
				first, err := us.Seal(doc)
				if err != nil {
					t.Fatal(err)
				}
				got, err := them.Open(first)
				if err != nil || !bytes.Equal(got, doc) {
					t.Errorf("a document of %d bytes: got %d bytes, %v", len(doc), len(got), err)
				}
				second, err := us.Seal(doc)
				if err != nil || mode != Plain && bytes.Equal(first, second) {
					t.Errorf("the second seal equals the first (%v)", err)
				}
				if mode != Plain && len(doc) > 0 && bytes.Contains(first, doc[:min(len(doc), 16)]) {
					t.Error("the document can be read in the message")
				}
			}
		})
	}
}

// A seal serves many requests at once; the keys inside are never written by two of them.
func TestSealIsSafeForConcurrentUse(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			us, them := pair(t, mode)
			message := sealed(t, us)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 5 {
						if got, err := them.Open(message); err != nil || !bytes.Equal(got, document) {
							t.Errorf("open: got %q, %v", got, err)
						}
						if _, err := them.Seal(document); err != nil {
							t.Errorf("seal: %v", err)
						}
						them.Expiries()
					}
				})
			}
			wg.Wait()
		})
	}
}

// A document may be as large as the settings say, and not a byte larger, in both directions.
func TestDocumentsAreBoundedExactly(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			us, them := pair(t, mode)
			const size = 1000
			them.maxSize, us.maxSize = size, size+1
			if p, ok := them.envelope.(*pgp); ok {
				p.cfg.MaxSize = size
			}
			fits, err := us.Seal(make([]byte, size))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := them.Open(fits); err != nil || len(got) != size {
				t.Errorf("%d bytes: got %d, %v", size, len(got), err)
			}
			large, err := us.Seal(make([]byte, size+1))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := them.Open(large); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%d bytes: got %d bytes, %v, want %v", size+1, len(got), err, ErrTooLarge)
			}
			if _, err := us.Seal(make([]byte, size+2)); !errors.Is(err, ErrTooLarge) {
				t.Errorf("seal: got %v, want %v", err, ErrTooLarge)
			}
			if _, err := them.Open(make([]byte, 2*size+sealOverhead+1)); !errors.Is(err, ErrTooLarge) {
				t.Errorf("a long message: got %v, want %v", err, ErrTooLarge)
			}
		})
	}
}

// Somebody without the keys sends what he likes: each is refused with the error that says why.
func TestGarbageIsRefused(t *testing.T) {
	for _, mode := range []Mode{PGP, JOSE} {
		_, them := pair(t, mode)
		for _, message := range []string{"", " ", "{}", secret, "AAAA", "a.b.c", "a.b.c.d.e", "....", "-----BEGIN PGP MESSAGE-----", strings.Repeat("=", 4), "\x00\xff"} {
			if _, err := them.Open([]byte(message)); !errors.Is(err, ErrFormat) {
				t.Errorf("%s: %q: got %v, want %v", mode, message, err, ErrFormat)
			}
		}
	}
}

// A bit is flipped somewhere on the way. Never does another document come out, and from the encrypted part on none at all.
func TestTamperedMessagesDoNotOpen(t *testing.T) {
	kinds := []error{ErrFormat, ErrEncryption, ErrSignature, ErrTooLarge}
	for _, mode := range []Mode{PGP, JOSE} {
		t.Run(string(mode), func(t *testing.T) {
			us, them := pair(t, mode)
			message := sealed(t, us)
			binary := message
			if mode == PGP {
				binary = decode(t, message)
			}
			// The header of the encrypted session key holds lengths that a reader may take or leave.
			soft := 300
			for i := 0; i < len(binary); i += 7 {
				broken := slices.Clone(binary)
				broken[i] ^= 1
				if mode == PGP {
					broken = encode(broken)
				}
				got, err := them.Open(broken)
				if err == nil && (mode == JOSE || i > soft || !bytes.Equal(got, document)) {
					t.Fatalf("byte %d of %d: opens to %q", i, len(binary), got)
				}
				if err != nil && !slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) }) {
					t.Errorf("byte %d of %d: got %v, want a known error", i, len(binary), err)
				}
			}
			for i := 0; i < len(message); i += 31 {
				if got, err := them.Open(message[:i]); err == nil {
					t.Fatalf("%d of %d bytes: opens to %q", i, len(message), got)
				}
			}
		})
	}
}

// Keys are announced before they end, each with its use, the earliest first.
func TestExpiriesListEachUse(t *testing.T) {
	us := mustNew(t, expiringConfig(t))
	got := us.Expiries()
	want := []struct {
		use Use
		at  time.Time
	}{{UseVerify, noon.AddDate(0, 0, 7)}, {UseEncrypt, noon.AddDate(0, 0, 7)}, {UseSign, noon.AddDate(0, 0, 30)}, {UseDecrypt, noon.AddDate(0, 0, 30)}}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %d of them", got, len(want))
	}
	for i, w := range want {
		if got[i].Use != w.use || !got[i].At.Equal(w.at) || got[i].KeyID == "" {
			t.Errorf("%d: got %+v, want %s at %s", i, got[i], w.use, w.at)
		}
	}
	if list := mustNew(t, Config{Mode: Plain}).Expiries(); len(list) != 0 {
		t.Errorf("plain: got %v", list)
	}
}

// Whatever is printed of a seal or its settings, no key is in it.
func TestNoKeyIsPrinted(t *testing.T) {
	for _, mode := range []Mode{PGP, JOSE} {
		cfg := Config{}
		piece := ""
		if mode == PGP {
			cfg = pgpConfigOf(t, asList(entity(t, "rsa-ours")), asList(entity(t, "rsa-theirs")))
			piece = strings.Split(cfg.SigningKeys[0].Reveal(), "\n")[4]
		} else {
			cfg = joseConfigOf(t, joseKeys(t, "ours"), joseKeys(t, "theirs"))
			_, piece, _ = strings.Cut(cfg.SigningKeys[0].Reveal(), `"d":"`)
			piece = piece[:40]
		}
		s := mustNew(t, cfg)
		for _, text := range []string{fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), fmt.Sprintf("%v %+v %#v", s, s, s)} {
			if strings.Contains(text, piece) {
				t.Errorf("%s: a private key is printed", mode)
			}
		}
	}
}
