package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// edge plays the Google-hosted methods: it keeps what arrives and answers as told.
type edge struct {
	*httptest.Server
	t *testing.T
	// open and seal are the envelope; nil means plain.
	open func([]byte) ([]byte, error)
	seal func([]byte) []byte
	// status is the answer to the n-th arrival, from 1; 0 hangs up. Nil means 200.
	status func(n int, path string) int

	mu   sync.Mutex
	seen []arrival
}

// arrival is a notice as it came in.
type arrival struct {
	path, contentType string
	document          map[string]any
}

func startEdge(t *testing.T) *edge {
	e := &edge{t: t}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if e.open != nil && err == nil {
		body, err = e.open(body)
	}
	a := arrival{path: r.URL.Path, contentType: r.Header.Get("Content-Type")}
	if err == nil {
		err = json.Unmarshal(body, &a.document)
	}
	if err != nil {
		e.t.Errorf("notice to %s cannot be read: %v", r.URL.Path, err)
	}
	e.mu.Lock()
	e.seen = append(e.seen, a)
	status := http.StatusOK
	if e.status != nil {
		status = e.status(len(e.seen), r.URL.Path)
	}
	e.mu.Unlock()
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	if status == http.StatusOK {
		_, _ = w.Write(e.accepted(r.URL.Path)) // the sender may be gone
	}
}

// accepted is the answer of the method's family.
func (e *edge) accepted(path string) []byte {
	answer := []byte(`{"responseHeader":{"responseTimestamp":{"epochMillis":"1780315200090"}},"result":{"accepted":{}}}`)
	if strings.HasPrefix(path, "/secure-serving/") {
		answer = []byte(`{"responseHeader":{"responseTimestamp":"1780315200070"},"result":"SUCCESS"}`)
	}
	if e.seal != nil {
		return e.seal(answer)
	}
	return answer
}

func (e *edge) arrivals() []arrival {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]arrival(nil), e.seen...)
}

// at follows names into a document.
func (a arrival) at(names ...string) any {
	var value any = a.document
	for _, name := range names {
		members, _ := value.(map[string]any)
		value = members[name]
	}
	return value
}

func (a arrival) id() any { return a.at("requestHeader", "requestId") }

// says is the result or the amount that a notice reports.
func (a arrival) says() string {
	for _, name := range []string{"result", "refundResult", "amount"} {
		if value, ok := a.document[name]; ok {
			return unionName(value)
		}
	}
	return ""
}

// untimed is the content that must be equal in each try.
func (a arrival) untimed() string {
	header, _ := a.document["requestHeader"].(map[string]any)
	timestamp := header["requestTimestamp"]
	delete(header, "requestTimestamp")
	text, err := json.Marshal(a.document)
	header["requestTimestamp"] = timestamp
	if err != nil {
		return err.Error()
	}
	return a.path + " " + string(text)
}
