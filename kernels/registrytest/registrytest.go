// Package registrytest starts a registry server for tests: Debian's
// docker-registry, no double.
package registrytest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Registry is a server with a storage of its own.
type Registry struct {
	Host string // 127.0.0.1:PORT
	dir  string
}

// Example: time="…" level=info msg="listening on 127.0.0.1:36105" go.version=go1.19.8
var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)

// Start starts one on a free port and an empty folder, and ends it with the test.
// Where the program is not installed the test is skipped, but never in CI.
func Start(t testing.TB) *Registry {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("docker-registry: not found: apt-get install docker-registry")
		}
		t.Skip("docker-registry: not found")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yml")
	config := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: '127.0.0.1:0'}\n", dir)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, "serve", file)
	out, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	host := waitForHost(bufio.NewScanner(out))
	if host == "" {
		t.Fatal("docker-registry ended before it listened")
	}
	return &Registry{Host: host, dir: dir}
}

func waitForHost(log *bufio.Scanner) string {
	for log.Scan() {
		if m := listening.FindStringSubmatch(log.Text()); m != nil {
			go func() {
				for log.Scan() { // so that the server never waits for a reader
				}
			}()
			return m[1]
		}
	}
	return ""
}

// Blob is the file in which the server keeps a blob.
func (r *Registry) Blob(digest string) string {
	sum := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(r.dir, "docker/registry/v2/blobs/sha256", sum[:2], sum, "data")
}
