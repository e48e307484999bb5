package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
)

// buildVersion is set by the linker; without it the version is the module's.
var buildVersion string

// version prints what was built, from what and with what.
func (p *program) version(_ context.Context, args []string) error {
	if _, err := p.parse(p.flags("version"), args, 0); err != nil {
		return err
	}
	info, _ := debug.ReadBuildInfo()
	fmt.Fprintln(p.stdout, versionLine(info))
	return nil
}

func versionLine(info *debug.BuildInfo) string {
	if info == nil {
		return "refundworker " + cmp.Or(buildVersion, "(unknown)")
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	line := "refundworker " + moduleVersion(info)
	if revision := settings["vcs.revision"]; revision != "" {
		line += " revision " + revision
		if settings["vcs.modified"] == "true" {
			line += " (modified)"
		}
	}
	if settings["GOOS"] != "" {
		line += " " + settings["GOOS"] + "/" + settings["GOARCH"]
	}
	return line + " " + info.GoVersion
}

func moduleVersion(info *debug.BuildInfo) string {
	return cmp.Or(buildVersion, info.Main.Version, "(devel)")
}

// ownVersion is the version of the running program.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(buildVersion, "(unknown)")
	}
	return moduleVersion(info)
}
