package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
)

// reasonCellMissing is of a cell of a matrix that left no report behind: its
// machine was lost, its job cancelled, its artifact not uploaded.
const reasonCellMissing = "cell-missing"

// readCells reads what `kmemgate matrix` printed; no file names no cells.
func readCells(path string) ([]matrixCell, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, harness.Usagef("--cells: %w", err)
	}
	var m struct {
		Include []matrixCell `json:"include"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, harness.Usagef("--cells %s: %w: want what kmemgate matrix prints", path, err)
	}
	seen := map[string]bool{}
	for _, c := range m.Include {
		if c.Name == "" || c.Kernel == "" || c.Arch == "" || seen[c.Name] {
			return nil, harness.Usagef("--cells %s: cell %q, kernel %q, arch %q: want all three, each name once, as kmemgate matrix prints them", path, c.Name, c.Kernel, c.Arch)
		}
		seen[c.Name] = true
	}
	if len(m.Include) == 0 {
		return nil, harness.Usagef("--cells %s: names no cell: want what kmemgate matrix prints", path)
	}
	return m.Include, nil
}

// missingCells are runs without a verdict for the cells of which no report is
// there, known by the name of its folder.
func missingCells(cells []matrixCell, dirs []string) []reports.Run {
	there := map[string]bool{}
	for _, dir := range dirs {
		there[cellFolder(dir)] = true
	}
	var runs []reports.Run
	for _, c := range cells {
		if !there[c.Name] {
			runs = append(runs, missingCell(c, "no report came of this cell of the matrix"))
		}
	}
	return runs
}

// missingCell is a run that stands for all that a cell was to test.
func missingCell(c matrixCell, detail string) reports.Run {
	return reports.Run{
		Kernel: c.Kernel, Arch: c.Arch, Scenario: c.Name, Leaks: []reports.Leak{},
		Verdict: reports.None, Reason: reasonCellMissing, Detail: detail,
	}
}

// cellNamed is the cell whose report a folder should hold. Where the matrix does
// not tell, neither kernel nor architecture are known.
func cellNamed(cells []matrixCell, dir string) matrixCell {
	for _, c := range cells {
		if c.Name == cellFolder(dir) {
			return c
		}
	}
	return matrixCell{Name: cellFolder(dir), Kernel: "unknown", Arch: "unknown"}
}

// cellFolder is the name of a report's folder, given the folder or the file.
func cellFolder(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		path = filepath.Dir(path)
	}
	return filepath.Base(path)
}

// readCell is a folder's report among many. What one of them lacks must not cost
// the others theirs: it is a run without a verdict.
func readCell(cells []matrixCell, dir string) (reports.Report, error) {
	r, err := readReport(dir)
	if st, statErr := os.Stat(dir); statErr != nil || !st.IsDir() {
		return r, err // mistyped: no cell was ever there
	}
	if err != nil {
		return reports.NewReport([]reports.Run{missingCell(cellNamed(cells, dir), fmt.Sprint(err))}), nil
	}
	return r, nil
}
