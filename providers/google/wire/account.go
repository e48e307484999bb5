package wire

import "strings"

// AccountRule is what ValidAccount demands, for whoever reads settings.
const AccountRule = "1 to 100 letters, digits and characters of . _ - are needed, not only dots"

// ValidAccount reports whether a text can be a payment integrator account id. It leaves none that has to be escaped in a
// path or could be taken for two parts of a notice id. What Google hands out is narrower; its form is not published.
func ValidAccount(id string) bool {
	const class = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return id != "" && len(id) <= 100 && strings.Trim(id, class) == "" && strings.Trim(id, ".") != ""
}
