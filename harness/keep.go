package harness

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
)

// keptFile tells how to reach a guest that was kept.
const keptFile = "KEPT"

// keepArgs are what only a kept guest needs: doors for people. They are in the
// private folder: a socket's path is bounded (108 bytes, unix(7)).
func keepArgs(dir *tempDir) []string {
	return append(debugArgs(dir),
		"-pidfile", dir.file("pid"),
		"-chardev", doorFor("monitor", dir), "-mon", "chardev=monitor,mode=readline")
}

// doors are what a person needs to get into this guest.
func (p plan) doors(dir *tempDir) []string {
	switch {
	case p.orphan:
		return keepArgs(dir)
	case p.debug:
		return debugArgs(dir)
	}
	return nil
}

// debugArgs are the debugger's door.
func debugArgs(dir *tempDir) []string {
	return []string{"-chardev", doorFor("gdb", dir), "-gdb", "chardev:gdb"}
}

func doorFor(id string, dir *tempDir) string {
	return fmt.Sprintf("socket,id=%s,path=%s,server=on,wait=off", id, escape(dir.file(id)))
}

// debugLine attaches a debugger.
func (g *guest) debugLine() string {
	symbols := filepath.Join(cmp.Or(g.plan.Kernel.Build, filepath.Dir(g.plan.Kernel.Image)), "vmlinux")
	return fmt.Sprintf("gdb %s -ex 'target remote %s'", shellQuote(symbols), g.dir.file("gdb"))
}

// keep releases the paused guest, and writes down how a person reaches and ends it.
func (g *guest) keep(outDir string) error {
	pid, err := os.ReadFile(g.dir.file("pid"))
	if err != nil {
		return hostError("", "%w", err)
	}
	if err := g.release(); err != nil {
		return err
	}
	text := fmt.Sprintf(`The guest stands still since its answer.
debugger: %s
monitor:  socat - UNIX-CONNECT:%s
end it:   kill %s; rm -r %s
`, g.debugLine(), shellQuote(g.dir.file("monitor")), bytes.TrimSpace(pid), shellQuote(g.dir.path))
	path := filepath.Join(cmp.Or(outDir, g.dir.path), keptFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return hostError("", "%w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return hostError("free some space", "%w", err)
	}
	return nil
}
