package schemas

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// fuzzMessage holds that the schema accepts whatever Go accepts, and that what Go accepts can be
// written and reads the same again.
func fuzzMessage(f *testing.F, index int) {
	m := messages[index]
	for _, folder := range []string{"good", "bad", "bad-go-only"} {
		files, _ := filepath.Glob(filepath.Join("testdata", m.name, folder, "*.json"))
		for _, file := range files {
			body, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body)
		}
	}
	schema := compile(f, m.file)
	f.Fuzz(func(t *testing.T, body []byte) {
		first, err := m.decode(body)
		if err != nil {
			return
		}
		if !allows(schema, body) {
			t.Fatalf("the schema refuses what Go accepts: %s", body)
		}
		again, err := m.encode(first)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		second, err := m.decode(again)
		if err != nil {
			t.Fatalf("decode again: %v", err)
		}
		third, err := m.encode(second)
		if err != nil || !reflect.DeepEqual(third, again) {
			t.Fatalf("encode again: got %s, %v; want %s", third, err, again)
		}
	})
}

func FuzzCommand(f *testing.F) { fuzzMessage(f, 0) }

func FuzzEvent(f *testing.F) { fuzzMessage(f, 1) }

func FuzzNotice(f *testing.F) { fuzzMessage(f, 2) }

func FuzzParseDecimal(f *testing.F) {
	for _, text := range []string{"10.00", "0", "0.001", "92233720368547.7580", "1e3", "-1", ".5", "5.", "1,0", "007.50"} {
		f.Add(text, "HKD")
		f.Add(text, "KWD")
		f.Add(text, "JPY")
	}
	f.Fuzz(func(t *testing.T, text, currency string) {
		m, err := ParseDecimal(text, Currency(currency))
		if err != nil {
			return
		}
		if m.Micros < 0 {
			t.Fatalf("%q is read as a negative amount", text)
		}
		if _, err := m.Minor(); err != nil {
			t.Fatalf("%q has no whole minor units: %v", text, err)
		}
		if again, err := ParseDecimal(m.Decimal(), m.Currency); err != nil || again != m {
			t.Fatalf("%q: %q reads as %v, %v; want %v", text, m.Decimal(), again, err, m)
		}
	})
}
