package reports

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// CaptureSchema names the format of capture.json.
const CaptureSchema = "kmemgate.capture/v1"

// maxText bounds each text of a run's folder: as much as a guest may send
// (wire.MaxStream), and a console may be no longer.
const maxText = 64 << 20

// The files of a run's folder. capture.json is written last: a folder without
// it is not a run.
const (
	fileCapture = "capture.json"
	fileCanary  = "canary.json"
	fileModules = "modules.json"
	fileMemory  = "memory.json"
)

// texts names the files that hold a capture's texts. A text that is nil has no
// file; one that is empty has an empty file.
func (c *Capture) texts() map[string]*[]byte {
	return map[string]*[]byte{
		"before.txt":   &c.Before,
		"passed.txt":   &c.Passed,
		"stacks.txt":   &c.Stacks,
		"previous.txt": &c.Previous,
		"kmemleak.txt": &c.Last,
		"control.txt":  &c.Control,
		"dmesg.txt":    &c.Dmesg,
		"console.log":  &c.Console,
		"exercise.log": &c.Output,
	}
}

// modulesFile is modules.json.
type modulesFile struct {
	Modules []Module `json:"modules"`
	Loads   []Load   `json:"loads"`
}

// captureFile is capture.json: what has a file of its own is left out.
type captureFile struct {
	*Capture
	Canary  *Canary  `json:"canary,omitempty"`
	Modules []Module `json:"modules,omitempty"`
	Loads   []Load   `json:"loads,omitempty"`
}

// WriteCapture writes a run's folder, the unstripped modules apart, which are
// already in it.
func WriteCapture(dir string, c *Capture) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	for name, text := range c.texts() {
		if *text == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), *text, 0o644); err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
	}
	if err := copySources(dir, c); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	c.Schema = CaptureSchema
	files := []struct {
		name  string
		value any
	}{
		{fileCanary, c.Canary},
		{fileModules, modulesFile{c.Modules, c.Loads}},
		{fileMemory, encodeMemory(c.Memory)},
		{fileCapture, captureFile{Capture: c}},
	}
	for _, f := range files {
		if f.name == fileMemory && len(c.Memory) == 0 {
			continue
		}
		if err := writeJSONFile(filepath.Join(dir, f.name), f.value); err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
	}
	return nil
}

func writeJSONFile(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// ReadCapture reads a run's folder back. Paths in it are untouched; Dir is set,
// so that what is relative can be found.
func ReadCapture(dir string) (*Capture, error) {
	c := &Capture{}
	if err := readJSONFile(filepath.Join(dir, fileCapture), captureFile{Capture: c}.target()); err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	if c.Schema != CaptureSchema {
		return nil, fmt.Errorf("read capture: %s: schema %q, want %q", filepath.Join(dir, fileCapture), c.Schema, CaptureSchema)
	}
	var mods modulesFile
	var memory map[string]string
	parts := []struct {
		name  string
		value any
	}{{fileCanary, &c.Canary}, {fileModules, &mods}, {fileMemory, &memory}}
	for _, p := range parts {
		err := readJSONFile(filepath.Join(dir, p.name), p.value)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read capture: %w", err)
		}
	}
	c.Modules, c.Loads, c.Dir = mods.Modules, mods.Loads, dir
	for name, text := range c.texts() {
		var err error
		if *text, err = readText(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("read capture: %w", err)
		}
	}
	var err error
	if c.Memory, err = decodeMemory(memory); err != nil {
		return nil, fmt.Errorf("read capture: %s: %w", filepath.Join(dir, fileMemory), err)
	}
	return c, nil
}

func (f captureFile) target() any { return &f }

func readJSONFile(path string, v any) error {
	b, err := readText(path)
	if err != nil {
		return err
	}
	if b == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// readText reads a file of bounded size; nil where there is none.
func readText(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxText {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, maxText)
	}
	return b, nil // not nil: io.ReadAll returns an empty slice for an empty file
}

// encodeMemory keys contents by address in hex, so that the file is sorted.
func encodeMemory(m map[uint64][]byte) map[string]string {
	out := make(map[string]string, len(m))
	for addr, b := range m {
		out[fmt.Sprintf("0x%016x", addr)] = base64.StdEncoding.EncodeToString(b)
	}
	return out
}

func decodeMemory(m map[string]string) (map[uint64][]byte, error) {
	if len(m) == 0 {
		return nil, nil
	}
	out := make(map[uint64][]byte, len(m))
	for key, text := range m {
		addr, err := strconv.ParseUint(key, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", key, err)
		}
		if out[addr], err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, fmt.Errorf("contents of %s: %w", key, err)
		}
	}
	return out, nil
}
