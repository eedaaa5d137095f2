package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/scenarios"
)

// applyTo lets the flags that were given override the scenario's file. They
// have the same names and values there, so they are checked as such a file.
func (f runFlags) applyTo(s *scenarios.Scenario, given func(string) bool) error {
	if err := knownFormat(f.format); err != nil {
		return err
	}
	if f.jobs < 0 {
		return harness.Usagef("--jobs %d: want 1 or more", f.jobs)
	}
	over, err := f.asScenario(given)
	if err != nil {
		return err
	}
	override(&s.Kernels, over.Kernels, given("kernel"))
	override(&s.Arches, over.Arches, given("arch"))
	override(&s.Clock, over.Clock, given("clock"))
	override(&s.Cycles, over.Cycles, given("cycles"))
	override(&s.ErrorPaths, over.ErrorPaths, given("error-paths"))
	override(&s.FailOn, over.FailOn, given("fail-on"))
	override(&s.AllowWarn, over.AllowWarn, given("allow-warn"))
	override(&s.RequireProbe, over.RequireProbe, given("require-probe"))
	override(&s.Stack, over.Stack, given("stack"))
	override(&s.Memory, over.Memory, given("memory"))
	override(&s.Cmdline, over.Cmdline, given("cmdline"))
	override(&s.Timeout, over.Timeout, given("timeout"))
	return nil
}

// asScenario checks the flags that were given as a kmemgate.yml is checked.
func (f runFlags) asScenario(given func(string) bool) (*scenarios.Scenario, error) {
	said := map[string]any{}
	for flag, value := range map[string]any{
		"kernel": f.kernels, "arch": f.arches, "clock": f.clock, "cycles": f.cycles, "error-paths": f.errorPaths,
		"fail-on": f.failOn, "allow-warn": f.allowWarn, "require-probe": f.requireProbe, "stack": f.stack,
		"memory": f.memory, "cmdline": f.cmdline, "timeout": f.timeout.String(),
	} {
		if given(flag) {
			said[yamlKey(flag)] = value
		}
	}
	text, err := yaml.Marshal(said)
	if err != nil {
		return nil, fmt.Errorf("flags: %w", err)
	}
	over, err := scenarios.Parse("command line", text)
	if err != nil {
		return nil, wrongFlags(err)
	}
	return over, nil
}

// wrongFlags calls the keys of a mistaken kmemgate.yml by the flags that they
// were made of.
func wrongFlags(err error) error {
	var wrong *scenarios.Error
	if !errors.As(err, &wrong) {
		return harness.Usagef("flags: %w", err)
	}
	var said []string
	for _, m := range wrong.Mistakes {
		key, text, _ := strings.Cut(m.Text, ": ")
		key, _, _ = strings.Cut(key, "[")
		said = append(said, "--"+flagOf(key)+": "+text)
	}
	return harness.Usagef("%s", strings.Join(said, "; "))
}

// yamlKey is what kmemgate.yml calls a flag.
func yamlKey(flag string) string {
	switch flag {
	case "kernel":
		return "kernels"
	case "arch":
		return "arches"
	}
	return strings.ReplaceAll(flag, "-", "_")
}

// flagOf is the flag of a key of kmemgate.yml.
func flagOf(key string) string {
	switch key {
	case "kernels":
		return "kernel"
	case "arches":
		return "arch"
	}
	return strings.ReplaceAll(key, "_", "-")
}

func override[T any](field *T, value T, given bool) {
	if given {
		*field = value
	}
}
