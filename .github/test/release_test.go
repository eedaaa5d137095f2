package actions

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const dist = "../../dist"

// A release, made as a snapshot of these sources: make test-release. What it holds is
// unpacked and run where there is no Go toolchain.
func TestRelease(t *testing.T) {
	goreleaser(t, "check")
	goreleaser(t, "release", "--snapshot", "--clean")
	t.Run("checksums", checksums)
	t.Run("SBOM", billsOfMaterials)
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) { wholeArchive(t, arch) })
	}
	t.Run("run without Go", runWithoutGo)
}

func goreleaser(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=.github/tools/goreleaser/go.mod", "goreleaser"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// checksums.txt names every archive and SBOM with its sum.
func checksums(t *testing.T) {
	named := 0
	for line := range strings.Lines(readFile(t, filepath.Join(dist, "checksums.txt"))) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		has := sha256.Sum256([]byte(readFile(t, filepath.Join(dist, file))))
		require.Equal(t, sum, hex.EncodeToString(has[:]), file)
		named++
	}
	require.Equal(t, 5, named, "two archives, an SBOM each, and one of all modules")
}

// billsOfMaterials name every module that the command is linked of, and what the
// guest's programs in it are made of.
func billsOfMaterials(t *testing.T) {
	linked := []string{"github.com/spf13/cobra", "modernc.org/sqlite"}
	for glob, want := range map[string][]string{
		"*_linux_amd64.cdx.json": linked, "*_linux_arm64.cdx.json": linked,
		// Without an architecture in its name.
		"kmemgate_*[^4].cdx.json": append(linked, "github.com/u-root/u-root"),
	} {
		files, err := filepath.Glob(filepath.Join(dist, glob))
		require.NoError(t, err)
		require.NotEmpty(t, files, glob)
		require.Subset(t, components(t, files[0]), want, files[0])
	}
}

func components(t *testing.T, file string) (names []string) {
	t.Helper()
	var bill struct {
		BOMFormat  string
		Components []struct{ Name string }
	}
	require.NoError(t, json.Unmarshal([]byte(readFile(t, file)), &bill))
	require.Equal(t, "CycloneDX", bill.BOMFormat)
	for _, c := range bill.Components {
		names = append(names, c.Name)
	}
	return names
}

// wholeArchive has the command, its pages and its completions.
func wholeArchive(t *testing.T, arch string) {
	dir := unpacked(t, arch)
	for _, file := range []string{"kmemgate", "LICENSE", "README.md", "man1/kmemgate-run.1", "completions/kmemgate.bash", "completions/kmemgate.zsh", "completions/kmemgate.fish"} {
		st, err := os.Stat(filepath.Join(dir, file))
		require.NoError(t, err)
		require.NotZero(t, st.Size(), file)
	}
	info, err := exec.Command("go", "version", "-m", filepath.Join(dir, "kmemgate")).Output()
	require.NoError(t, err)
	require.Contains(t, string(info), "GOARCH="+arch)
}

func unpacked(t *testing.T, arch string) string {
	t.Helper()
	archives, err := filepath.Glob(filepath.Join(dist, "kmemgate_*_linux_"+arch+".tar.gz"))
	require.NoError(t, err)
	require.Len(t, archives, 1)
	dir := t.TempDir()
	out, err := exec.Command("tar", "-xzf", archives[0], "-C", dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// runWithoutGo runs the clean and the leaking driver with the archive's command,
// where no Go toolchain is in PATH: the guest's programs are those it carries.
func runWithoutGo(t *testing.T) {
	command := filepath.Join(unpacked(t, runtime.GOARCH), "kmemgate")
	path := pathWithoutGo(t)
	for driver, want := range map[string]int{fixed: 0, leaky: 1} {
		cmd := exec.CommandContext(context.Background(), command, "run", "--kernel", "6.12", driver)
		cmd.Env = append(os.Environ(), "PATH="+path)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // the status is what is asked for
		require.Equal(t, want, cmd.ProcessState.ExitCode(), "%s", out.String())
	}
}

// pathWithoutGo is PATH but for the folders that have a go.
func pathWithoutGo(t *testing.T) string {
	t.Helper()
	var without []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "go")); err != nil {
			without = append(without, dir)
		}
	}
	path := strings.Join(without, string(filepath.ListSeparator))
	t.Setenv("PATH", path)
	_, err := exec.LookPath("go")
	require.Error(t, err)
	return path
}
