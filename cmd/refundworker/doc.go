// Package main is the refund worker's program: settings, wiring, listeners, commands and the servers that it
// can run itself.
//
// It guarantees that nothing starts from settings that are not understood in full: every problem is reported
// at once, with its place, and the program ends with exit code 2 before money can move. Secrets are printed
// redacted wherever settings are shown.
//
// It decides nothing about refunds. What becomes of a command is settled in package consumer; this package
// alone names every provider, dials NATS and Redis and knows the OpenTelemetry SDK.
package main
