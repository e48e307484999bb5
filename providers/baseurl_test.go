package providers

import "testing"

func TestBaseURL(t *testing.T) {
	tests := []struct {
		url string
		ok  bool
	}{
		{"https://payapi.prod.bbmsl.com", true}, {"http://127.0.0.1:9090/bbmsl", true}, {"http://[::1]:9090", true},
		{"http://simulator:9090/bbmsl", true}, {"http://payapi.prod.bbmsl.com", false}, {"http://10.0.0.1", false},
		{"", false}, {"payapi.prod.bbmsl.com", false}, {"ftp://host", false}, {"https://", false}, {"https://:443", false},
		{"https://u:p@host", false}, {"https://host?x=1", false}, {"https://host/#x", false},
	}
	for _, tt := range tests {
		if err := ValidBaseURL(tt.url); (err == nil) != tt.ok {
			t.Errorf("%q: got %v, want ok %v", tt.url, err, tt.ok)
		}
	}
}
