package main

import (
	"cmp"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"corp.example/gateway/internal/catalog"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program and of its catalogue",
		Args:  noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			cat, err := catalog.New()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "gateway %s\ncatalogue %s, %d operations\n", buildVersion(), cat.Version(), len(cat.Operations()))
			return err
		},
	}
}

// version is set by the linker alone (-ldflags "-X main.version=1.2.3"), for builds that see no repository: the image's.
var version string

// buildVersion is what the linker set, or the module's version, or the commit that was built, as the Go toolchain recorded it.
func buildVersion() string {
	info, known := debug.ReadBuildInfo()
	if !known {
		return "unknown"
	}
	version := cmp.Or(version, info.Main.Version)
	if version == "" || version == "(devel)" {
		version = "devel"
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				version = setting.Value
			}
		}
	}
	return fmt.Sprintf("%s (%s)", version, info.GoVersion)
}
