package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		older      bool
	}{
		{"7.2.22", "7.2", false},
		{"7.1.9", "7.2", true},
		{"10.0", "7.2", false}, // numbers, not text
		{"7", "7.2", true},
		{"version unknown", "7.2", true},
	} {
		assert.Equal(t, tt.older, older(tt.have, tt.want), "%s against %s", tt.have, tt.want)
	}
}

func TestDistribution(t *testing.T) {
	for text, want := range map[string]string{
		"ID=debian\nVERSION_ID=\"12\"\n":          "debian",
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"": "ubuntu",
		"ID=fedora\n":    "fedora",
		"ID=arch\n":      "arch",
		"ID=slackware\n": "debian",
	} {
		path := filepath.Join(t.TempDir(), "os-release")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		assert.Equal(t, want, distribution(path), text)
	}
}

func TestMissingToolNamesTheCommandThatBringsIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	flex := tool{program: "flex", why: "Kconfig's parser", packages: pkgs("flex", "flex", "flex")}
	assert.Equal(t, Check{Name: "flex", Status: "lack", Found: "not found: Kconfig's parser", Cure: "sudo pacman -S --needed flex"}, flex.check("arch"))
	flex.optional = true
	assert.Equal(t, "note", flex.check("debian").Status)
}

func TestOldToolIsALack(t *testing.T) {
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "qemu"), []byte("#!/bin/sh\necho QEMU emulator version 6.0.1\n"), 0o755))
	t.Setenv("PATH", bin+":/bin")
	c := tool{program: "qemu", version: "--version", oldest: "7.2", packages: pkgs("q", "q", "q")}.check("debian")
	assert.Equal(t, "lack", c.Status)
	assert.Equal(t, "6.0.1: too old, want 7.2", c.Found)
}
