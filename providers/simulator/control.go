package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"refundworker/schemas"
)

// maxDocument bounds one control document: room for a few hundred thousand payments.
const maxDocument = 64 << 20

// document takes one control document: all of it, or nothing and the reasons why.
type document func(raw []byte) problems

// Seed reads one JSON document that holds what the control paths would be given:
//
//	{"keys":{"bbmsl":[…]},"payments":{"bbmsl":[…]},"open":{"bbmsl":{…}},"balance":{"bbmsl":{…}},"faults":[…],"notices":[…]}
//
// Every member is optional. All problems are reported at once; documents without problems are applied even so.
func (s *Server) Seed(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read seed: %w", err)
	}
	var found problems
	sections, err := members(raw)
	if err != nil {
		found.add("", err.Error())
	}
	for section, value := range sorted(sections) {
		found.under("/"+escape(section), s.takeSection(section, value))
	}
	return found.err()
}

// takeSection takes one member of a seed: a document, or an object of documents by provider type.
func (s *Server) takeSection(section string, raw []byte) (found problems) {
	sections := map[string]map[string]any{}
	for path := range s.documents {
		name, kind, _ := strings.Cut(path, "/")
		if sections[name] == nil {
			sections[name] = map[string]any{}
		}
		sections[name][kind] = new(json.RawMessage)
	}
	kinds, known := sections[section]
	if !known {
		found.add("", "unknown member; known are "+strings.Join(names(sections), ", "))
		return found
	}
	if take, whole := s.documents[section]; whole {
		return take(raw)
	}
	for kind, part := range sorted(found.object("", raw, kinds)) {
		if take, ok := s.documents[section+"/"+kind]; ok && string(part) != "null" {
			found.under("/"+kind, take(part))
		}
	}
	return found
}

func (s *Server) mountControl() {
	s.mux.HandleFunc("PUT /_control/{path...}", s.putDocument)
	s.mux.HandleFunc("GET /_control/ledger", s.getLedger)
	s.mux.HandleFunc("GET /_control/notices", s.getNotices)
	s.mux.HandleFunc("GET /_control/refusals", s.getRefusals)
	s.mux.HandleFunc("DELETE /_control", s.deleteAll)
	s.mux.HandleFunc("DELETE /_control/{$}", s.deleteAll)
	s.mux.HandleFunc("/_control/", s.noControl)
}

func (s *Server) putDocument(w http.ResponseWriter, r *http.Request) {
	take, ok := s.documents[r.PathValue("path")]
	if !ok {
		s.noControl(w, r)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDocument))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		controlError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("document is larger than %d bytes", maxDocument), nil)
		return
	}
	if err != nil {
		controlError(w, http.StatusBadRequest, "document could not be read to its end", nil)
		return
	}
	if found := take(raw); len(found) > 0 {
		controlError(w, http.StatusBadRequest, found.err().Error(), found)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) getLedger(w http.ResponseWriter, _ *http.Request) { writeLines(w, s.Ledger()) }

func (s *Server) getNotices(w http.ResponseWriter, _ *http.Request) { writeLines(w, s.Notices()) }

func (s *Server) getRefusals(w http.ResponseWriter, _ *http.Request) { writeLines(w, s.Refusals()) }

// writeLines answers NDJSON.
func writeLines[T any](w http.ResponseWriter, list []T) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(w)
	for _, line := range list {
		if lines.Encode(line) != nil {
			return
		}
	}
}

func (s *Server) deleteAll(w http.ResponseWriter, _ *http.Request) {
	s.Forget()
	w.WriteHeader(http.StatusNoContent)
}

// noControl answers every call that control does not offer with what it does offer.
func (s *Server) noControl(w http.ResponseWriter, r *http.Request) {
	text := fmt.Sprintf("no control %s %s; there are DELETE /_control, GET /_control/ with ledger, notices or refusals, and PUT /_control/ with %s",
		r.Method, strconv.Quote(r.URL.Path), strings.Join(names(s.documents), ", "))
	controlError(w, http.StatusNotFound, text, nil)
}

func controlError(w http.ResponseWriter, status int, text string, found []schemas.Problem) {
	body, err := json.Marshal(struct {
		Error    string            `json:"error"`
		Problems []schemas.Problem `json:"problems,omitempty"`
	}{text, found})
	if err != nil {
		hangUp()
	}
	reply{status: status, contentType: contentJSON, body: body}.write(w)
}
