package client

import "testing"

func TestAddressOfAServerIsWhatPeopleWrite(t *testing.T) {
	for text, want := range map[string]string{
		"cloud":                     "https://cloud:7443",
		" cloud.example.org ":       "https://cloud.example.org:7443",
		"cloud:443":                 "https://cloud:443",
		"https://cloud":             "https://cloud:7443",
		"https://cloud:7443/":       "https://cloud:7443",
		"https://front:443/virga/":  "https://front:443/virga",
		"192.0.2.7":                 "https://192.0.2.7:7443",
		"2001:db8::7":               "https://[2001:db8::7]:7443",
		"[2001:db8::7]":             "https://[2001:db8::7]:7443",
		"https://[2001:db8::7]:443": "https://[2001:db8::7]:443",
		"":                          "", "https://": "", "http://cloud:7443": "", "ftp://cloud": "", "cloud:": "", "cloud:port": "",
		"https://me:secret@cloud": "", "cloud?x=1": "", "a b": "",
	} {
		got, err := Address(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Address(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}
