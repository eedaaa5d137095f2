package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports/history"
)

// matrixCell is one job of the matrix. Its keys are names in the workflow:
// ${{ matrix.kernel }}.
type matrixCell struct {
	// Name is fit for a folder and an artifact: report --cells knows the cell by it.
	Name    string  `json:"name"`
	Kernel  string  `json:"kernel"`
	Arch    string  `json:"arch"`
	Shard   string  `json:"shard"`             // "2/3", what sweep --shard takes
	Seconds float64 `json:"seconds,omitempty"` // what it took last night, about
}

// maxCells is GitHub's limit for one matrix.
// https://docs.github.com/actions/reference/limits: 256 jobs a workflow run.
const maxCells = 256

func newMatrix() *cobra.Command {
	var kernelNames, arches []string
	var shards int
	var db string
	c := &cobra.Command{
		Use:   "matrix",
		Short: "The matrix of a nightly GitHub Actions workflow, as JSON for fromJSON",
		Long: `Matrix prints {"include":[{"name":…,"kernel":…,"arch":…,"shard":"1/2"},…]}:
kernels × architectures × shards. --shards is the number of shards a pair of kernel and
architecture gets on average. With --db, a pair that took longer last night
gets more of them and a quicker one fewer, so that all jobs end at about the
same time.`,
		Example: `  kmemgate matrix --kernel 6.12 --kernel 6.1 --arch x86_64 --arch arm64 --shards 4
  echo "matrix=$(kmemgate matrix --db kmemgate-history.sqlite)" >> "$GITHUB_OUTPUT"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			pairs, err := matrixPairs(kernelNames, arches, shards)
			if err != nil {
				return err
			}
			if db != "" {
				if err := matrixTimes(c, db, pairs); err != nil {
					return err
				}
			}
			return json.NewEncoder(c.OutOrStdout()).Encode(map[string][]matrixCell{"include": balance(pairs, shards*len(pairs))})
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&kernelNames, "kernel", []string{"6.12"}, "kernel, as run takes it (repeats)")
	fl.StringArrayVar(&arches, "arch", []string{"x86_64", "arm64"}, "architecture (repeats)")
	fl.IntVar(&shards, "shards", 1, "shards a pair of kernel and architecture, on average")
	fl.StringVar(&db, "db", "", "the history's file, for last night's times")
	return c
}

// matrixPair is a kernel on an architecture; Seconds is what it took last
// night, 0 where that is not known.
type matrixPair struct {
	kernel, arch string
	seconds      float64
}

func matrixPairs(kernelNames, arches []string, shards int) ([]matrixPair, error) {
	var pairs []matrixPair
	seen := map[matrixPair]bool{}
	for _, k := range kernelNames {
		for _, a := range arches {
			p := matrixPair{kernel: k, arch: a}
			switch {
			case !knownArch(a):
				return nil, harness.Usagef("--arch %s: want x86_64 or arm64", a)
			case k == "":
				return nil, harness.Usagef("--kernel: is empty")
			case !seen[p]:
				seen[p] = true
				pairs = append(pairs, p)
			}
		}
	}
	if n := shards * len(pairs); shards < 1 || shards > maxCells || n > maxCells {
		return nil, harness.Usagef("--shards %d: %d pairs of kernel and architecture make %d jobs, GitHub allows 1 to %d", shards, len(pairs), n, maxCells)
	}
	return pairs, nil
}

// matrixTimes looks up what the pairs took. The first night has no history,
// and that is no reason to have no nights.
func matrixTimes(c *cobra.Command, db string, pairs []matrixPair) error {
	h, err := history.OpenExisting(c.Context(), db)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(c.ErrOrStderr(), "%s is not there yet: all pairs get the same number of shards\n", db)
		return nil
	}
	if err != nil {
		return harness.Usagef("--db: %w", err)
	}
	defer h.Close()
	return lookUp(c.Context(), h, pairs)
}

func lookUp(ctx context.Context, h *history.History, pairs []matrixPair) error {
	took, err := h.Durations(ctx)
	if err != nil {
		return err
	}
	for i, p := range pairs {
		pairs[i].seconds = history.Took(took, p.kernel, p.arch)
	}
	return nil
}

// balance deals out so many shards, at least one a pair, each to the pair
// whose shards take longest. A pair without a time counts as the average.
func balance(pairs []matrixPair, shards int) []matrixCell {
	weights := make([]float64, len(pairs))
	given := make([]int, len(pairs))
	for i, p := range pairs {
		weights[i], given[i] = p.seconds, 1
		if p.seconds == 0 {
			weights[i] = average(pairs)
		}
	}
	for n := len(pairs); n < shards; n++ {
		longest := 0
		for i := range pairs {
			if weights[i]/float64(given[i]) > weights[longest]/float64(given[longest]) {
				longest = i
			}
		}
		given[longest]++
	}
	cells := []matrixCell{}
	for i, p := range pairs {
		for s := 1; s <= given[i]; s++ {
			name := fmt.Sprintf("cell-%s-%s-%d-of-%d", plainName(p.kernel), p.arch, s, given[i])
			cells = append(cells, matrixCell{name, p.kernel, p.arch, fmt.Sprintf("%d/%d", s, given[i]), p.seconds / float64(given[i])})
		}
	}
	return cells
}

// plainName leaves of a kernel what the name of an artifact may hold.
// https://github.com/actions/toolkit/blob/main/packages/artifact/src/internal/upload/path-and-artifact-name-validation.ts
func plainName(kernel string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, kernel)
}

// average is the mean of the known times; 1 where none is known.
func average(pairs []matrixPair) float64 {
	sum, n := 0.0, 0
	for _, p := range pairs {
		if p.seconds > 0 {
			sum += p.seconds
			n++
		}
	}
	if n == 0 {
		return 1
	}
	return sum / float64(n)
}
