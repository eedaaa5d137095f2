package kernels

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Some of what a driver needs is in no symbol that it misses: it asks for it by
// name while it runs. Its files say so.

// named is what the driver's own files name: a driver that was cut out of a
// kernel tree is built by that kernel's option, and one that encrypts asks the
// crypto API for algorithms by their names.
func (g *growth) named(ctx context.Context) (needs, error) {
	var all needs
	for _, part := range g.opts.parts() {
		dir := filepath.Join(g.dir, part)
		_, options, err := inspect(dir)
		if err != nil {
			return needs{}, err
		}
		algorithms, err := namedAlgorithms(ctx, dir)
		if err != nil {
			return needs{}, hostErr(err, "driver %s", dir)
		}
		all = all.and(needs{ownOptions: options.own, guards: options.guards, algorithms: algorithms})
	}
	return all, nil
}

var (
	cryptoHeader = regexp.MustCompile(`#\s*include\s*<(?:linux/crypto\.h|crypto/)`)
	// Example: "hmac(sha256)"
	algorithmTemplate = regexp.MustCompile(`"([a-z0-9]+\([a-z0-9_()-]+\))"`)
	// Example: crypto_alloc_shash("crc32c", 0, 0)
	algorithmPlain = regexp.MustCompile(`\bcrypto_(?:alloc|has)_[a-z0-9_]+\(\s*"([a-z0-9-]+)"`)
	// Example: MODULE_ALIAS_CRYPTO("ecb");
	algorithmAlias = regexp.MustCompile(`MODULE_ALIAS_CRYPTO\(\s*"([a-z0-9_-]+)"`)
	algorithmWord  = regexp.MustCompile(`[a-z0-9_-]+`)
)

// namedAlgorithms are the algorithms and templates that the files of a driver
// name which uses the crypto API, but for those that it brings itself: "hmac",
// "sha256" of "hmac(sha256)".
func namedAlgorithms(ctx context.Context, dir string) ([]string, error) {
	text, err := allOfC(ctx, dir)
	if err != nil || !cryptoHeader.Match(text) {
		return nil, err
	}
	var names []string
	for _, re := range []*regexp.Regexp{algorithmTemplate, algorithmPlain} {
		for _, m := range re.FindAllSubmatch(text, -1) {
			names = append(names, algorithmWord.FindAllString(string(m[1]), -1)...)
		}
	}
	own := map[string]bool{}
	for _, m := range algorithmAlias.FindAllSubmatch(text, -1) {
		own[string(m[1])] = true
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return own[name] }), nil
}

// allOfC is the text of all C files below a directory.
func allOfC(ctx context.Context, dir string) ([]byte, error) {
	files, err := walkedFiles(dir)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, file := range files {
		if ext := filepath.Ext(file); ext != ".c" && ext != ".h" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, file))
		if errors.Is(err, os.ErrNotExist) {
			continue // a link to nowhere
		}
		if err != nil {
			return nil, err
		}
		all = append(append(all, text...), '\n')
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return all, nil
}

// findAlgorithms looks for the files of the kernel that bring algorithms.
func findAlgorithms(src fs.FS, arch string, names []string) (map[string][]place, error) {
	var roots []string
	for _, root := range []string{"crypto", path.Join("arch", arch, "crypto")} {
		if _, err := fs.Stat(src, root); err == nil {
			roots = append(roots, root)
		}
	}
	files, err := treeFiles(src, arch, roots, ".c")
	if err != nil {
		return nil, err
	}
	wanted := newSet(names)
	return scan(src, files, func(text []byte) map[string][]string {
		found := map[string][]string{}
		if !bytes.Contains(text, []byte("MODULE_ALIAS_CRYPTO")) {
			return nil
		}
		for _, m := range algorithmAlias.FindAllSubmatch(text, -1) {
			if wanted[string(m[1])] {
				found[string(m[1])] = nil
			}
		}
		return found
	})
}

// algorithm adds what brings an algorithm. One that the kernel does not know is
// no reason to give up: the driver may bring it, or do without.
func (f *finder) algorithm(mk *makeIndex, name string, places []place) *Addition {
	slices.SortStableFunc(places, func(a, b place) int { // the plain C one is the one that needs least
		return strings.Count(a.file, "/") - strings.Count(b.file, "/")
	})
	for _, p := range places {
		sets := mk.builtBy(p.file)
		if len(sets) == 0 {
			continue
		}
		if a, _ := f.enable("the driver asks the crypto API for "+name+", which is in "+p.file, sets); a != nil {
			return a
		}
	}
	return nil
}
