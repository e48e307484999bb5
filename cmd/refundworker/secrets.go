package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"refundworker/providers"
)

// secrets resolves the references that settings hold in place of secrets: ${NAME} and file:PATH. Its errors never
// show a value.
type secrets struct {
	getenv func(string) string
	// directory is what relative paths start from: the one of the settings file.
	directory string
}

var environmentReference = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// resolve returns the secret behind a reference. A secret written out is refused: settings files are copied,
// committed and shown.
func (s secrets) resolve(reference string) (providers.Secret, error) {
	if name := environmentReference.FindStringSubmatch(reference); name != nil {
		value := s.getenv(name[1])
		if value == "" {
			return "", fmt.Errorf("environment variable %s is not set", name[1])
		}
		return providers.Secret(value), nil
	}
	if path, ok := strings.CutPrefix(reference, "file:"); ok {
		return s.file(path)
	}
	return "", errors.New("a secret must be given as ${NAME} (an environment variable) or file:PATH")
}

// resolveFile is resolve for what may also be given as a plain path, because it is a file by nature.
func (s secrets) resolveFile(reference string) (providers.Secret, error) {
	if environmentReference.MatchString(reference) || strings.HasPrefix(reference, "file:") {
		return s.resolve(reference)
	}
	return s.file(reference)
}

func (s secrets) file(path string) (providers.Secret, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.directory, path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		// The path itself is left out: it might be a secret that was put in the wrong place.
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	value := strings.TrimRight(string(raw), "\r\n")
	if value == "" {
		return "", errors.New("the file is empty")
	}
	return providers.Secret(value), nil
}
