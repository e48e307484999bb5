package simulator

import (
	"mime"
)

// maxOpened bounds what a compressed message may grow to.
const maxOpened = 1 << 20

// googleSeal is the envelope of one account's messages.
type googleSeal interface {
	contentType() string
	// open returns the document of a message that is encrypted to and signed by this account's keys.
	open(message []byte) ([]byte, error)
	seal(document []byte) ([]byte, error)
}

// plainSeal leaves documents as they are, for tests and trusted networks.
type plainSeal struct{}

func (plainSeal) contentType() string                  { return "application/json; charset=utf-8" }
func (plainSeal) open(message []byte) ([]byte, error)  { return message, nil }
func (plainSeal) seal(document []byte) ([]byte, error) { return document, nil }

// openedMessage is a message out of its envelope. The zero value is a message that nobody could open.
type openedMessage struct {
	document []byte
	// seals are those of the accounts whose keys the message fits.
	seals map[string]googleSeal
}

// open tries the keys of all accounts: which one a message is for stands inside it.
func (g *Google) open(contentType string, body []byte) (m openedMessage) {
	given, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return m
	}
	for account, seal := range g.sealsNow() {
		if used, _, err := mime.ParseMediaType(seal.contentType()); err != nil || used != given {
			continue
		}
		if document, err := seal.open(body); err == nil {
			if m.seals == nil {
				m.seals = map[string]googleSeal{}
			}
			m.document, m.seals[account] = document, seal
		}
	}
	return m
}

// sealsNow returns the accounts in force; SetKeys replaces the map and never changes it.
func (g *Google) sealsNow() map[string]googleSeal {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seals
}

// sealFor returns the seal of the answer, and whether the account that the message names is one whose keys it
// fits. A request that names none is answered under any of the seals that it fits; nil means that there is none.
func (m openedMessage) sealFor(account string) (seal googleSeal, fits bool) {
	if seal, ok := m.seals[account]; ok {
		return seal, true
	}
	for _, name := range names(m.seals) {
		return m.seals[name], account == ""
	}
	return nil, false
}
