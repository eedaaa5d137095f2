package harness

import (
	"os"
	"path/filepath"
)

// evidence is what only this package has seen of a run. The capture itself is
// written by package reports.
type evidence struct {
	command string // that started QEMU
	qemu    []byte // what QEMU itself complained of
}

func (g *guest) evidence() evidence { return evidence{g.command, g.stderr.Bytes()} }

// write puts it into a run's folder; no folder, no evidence.
func (e evidence) write(dir string, console []byte) error {
	if dir == "" {
		return nil
	}
	files := map[string][]byte{"qemu.cmd": []byte(e.command + "\n"), "console.log": console}
	if len(e.qemu) > 0 {
		files["qemu.log"] = e.qemu
	}
	err := os.MkdirAll(dir, 0o755)
	for name, text := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
	}
	if err != nil {
		return hostError("free some space", "evidence: %w", err)
	}
	return nil
}
