package cli

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kmemgate/kmemgate/harness"
)

// strict makes wrong usage of what cobra lets pass, or calls by words of its
// own: a command that nobody knows, help on one, a group without its command.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.SetFlagErrorFunc(flagError)
	usageErrors(root)
	help, _, _ := root.Find([]string{"help"})
	help.RunE = helpOn
}

// usageErrors makes cobra's complaints about arguments wrong usage, exit 2, and
// a command that only has others ask for one of them.
func usageErrors(c *cobra.Command) {
	if c.HasSubCommands() {
		c.Args, c.RunE = cobra.ArbitraryArgs, chooseCommand
	} else if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return harness.Usagef("%v (see %s --help)", err, c.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// chooseCommand is what a command does that only has others. kmemgate by itself
// tells what there is.
func chooseCommand(c *cobra.Command, args []string) error {
	switch {
	case len(args) > 0:
		return unknownCommand(c, args[0])
	case c.HasParent():
		return harness.Usagef("%s what? The commands are %s", c.CommandPath(), commandNames(c))
	}
	return c.Help()
}

func helpOn(c *cobra.Command, args []string) error {
	about, rest, err := c.Root().Find(args)
	if err != nil {
		return harness.Usagef("help: %w", err)
	}
	if about.HasSubCommands() && len(rest) > 0 {
		return unknownCommand(about, rest[0])
	}
	about.InitDefaultHelpFlag()
	return about.Help()
}

// unknownCommand tells which commands c has, and which of them was meant.
func unknownCommand(c *cobra.Command, name string) error {
	meant := ""
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(name); len(near) > 0 {
		meant = fmt.Sprintf(" (did you mean %s?)", strings.Join(near, " or "))
	}
	return harness.Usagef("unknown command %q%s: the commands are %s", name, meant, commandNames(c))
}

func commandNames(c *cobra.Command) string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return strings.Join(names, ", ")
}

// flagError says what a flag wants in place of how Go failed to parse it.
func flagError(c *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		f := invalid.GetFlag()
		err = fmt.Errorf("--%s %s: want %s", f.Name, invalid.GetValue(), wantedBy(f.Value.Type()))
	}
	return harness.Usagef("%w (%s --help lists the flags)", err, c.CommandPath())
}

func wantedBy(flagType string) string {
	switch flagType {
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 60s or 5m"
	}
	return "a " + flagType
}

// version is what the Go toolchain knows of this build: the tag it was installed
// by, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}
