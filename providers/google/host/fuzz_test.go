package host

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"refundworker/providers/google/seal"
)

// Whatever comes, the handler answers with one of its statuses, and 200 means that there is a notice or an echo.
func FuzzHandler(f *testing.F) {
	f.Add(0, cardResultDocument("n-1", noon, "SUCCESS"))
	f.Add(1, reversalDocument("rev-1", noon, "1000000"))
	f.Add(2, redirectResultDocument(redirectAccount, "n-1", noon))
	f.Add(3, flatHeader("e-1", noon)+`,"clientMessage":"lighthouse"}`)
	f.Add(4, `{}`)
	paths := []struct{ path, account string }{{cardResult, cardAccount}, {cardReversal, cardAccount}, {redirectResult, redirectAccount},
		{cardEcho, cardAccount}, {redirectEcho, redirectAccount}}
	statuses := []int{http.StatusOK, http.StatusBadRequest, http.StatusNotFound, http.StatusPreconditionFailed, http.StatusTooManyRequests}
	f.Fuzz(func(t *testing.T, which int, document string) {
		p := paths[((which%len(paths))+len(paths))%len(paths)]
		e := newEdge(t, seal.Plain)
		e.handler.cfg.Floor = time.Nanosecond
		e.inbox.refunds["crf_55-B7"] = refunded(0)
		status, answer := e.send(p.path, p.account, document)
		if !slices.Contains(statuses, status) {
			t.Errorf("got %d, %s", status, answer)
		}
		reports := p.path != cardEcho && p.path != redirectEcho
		if got := len(e.inbox.notices); reports && (got == 1) != (status == http.StatusOK) {
			t.Errorf("got %d and %d notices", status, got)
		}
	})
}
