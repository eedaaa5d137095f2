package kernels

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// manifestMagic is the first word of a manifest.
const manifestMagic = "kmemgate.cache/v1"

// manifest lists what a complete entry must hold. Its file lies beside the
// entry, is written last and atomically, and so is the mark of completeness:
//
//	kmemgate.cache/v1 BYTES
//	SHA256[+CRC32C] SIZE MTIME "PATH"
//
// with "-" for a file whose content is not summed up, and the second sum, that of
// quickSum, in small entries only.
type manifest struct {
	bytes int64 // disk space
	files []manifestFile
}

type manifestFile struct {
	sum   string
	size  int64
	mtime int64 // nanoseconds
	path  string
}

func okFile(dir string) string { return dir + ".ok" }

// readable reports whether the entry was completed once.
func readable(dir string) bool {
	_, err := os.Stat(okFile(dir))
	return err == nil
}

// touch marks the entry as the one used last. Where the clock was set back, others
// have stamps of the future: it goes behind them, for it is the order that decides
// what is evicted. On a read-only disk it cannot, and nothing is evicted there.
func (c *Cache) touch(dir string) {
	stamp := c.nextStamp(filepath.Dir(filepath.Dir(dir)))
	_ = os.Chtimes(okFile(dir), stamp, stamp)
}

// nextStamp is now, or a moment after the newest stamp there is. The others' stamps
// are looked at once: what they set later has our clock.
func (c *Cache) nextStamp(root string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest.IsZero() {
		c.newest = newestUse(root)
	}
	stamp := c.now()
	if !c.newest.Before(stamp) {
		stamp = c.newest.Add(time.Millisecond)
	}
	c.newest = stamp
	return stamp
}

func (c *Cache) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// newestUse is when an entry of the cache was last taken into use.
func newestUse(root string) (newest time.Time) {
	stamps, err := filepath.Glob(okFile(filepath.Join(escapeGlob(root), "*", "*")))
	if err != nil {
		return newest
	}
	for _, file := range stamps {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

// newManifest walks the finished entry.
func newManifest(dir string, sums bool) (*manifest, error) {
	m := &manifest{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file := manifestFile{sum: "-", size: info.Size(), mtime: info.ModTime().UnixNano(), path: rel}
		if sums {
			if file.sum, err = fileSum(path); err != nil {
				return err
			}
		}
		m.files = append(m.files, file)
		m.bytes += diskSpace(info)
		return nil
	})
	if err == nil && sums && m.bytes <= quickLimit {
		err = m.addQuickSums(dir)
	}
	return m, err
}

func (m *manifest) addQuickSums(dir string) error {
	for i := range m.files {
		quick, err := quickSum(filepath.Join(dir, m.files[i].path))
		if err != nil {
			return err
		}
		m.files[i].sum += "+" + quick
	}
	return nil
}

func (m *manifest) write(dir string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %d\n", manifestMagic, m.bytes)
	for _, f := range m.files {
		fmt.Fprintln(&b, f)
	}
	return renameio.WriteFile(okFile(dir), b.Bytes(), 0o644)
}

// checkManifest compares the entry with its manifest. A file of a large entry that
// has the same size and time is taken as unchanged; another time costs a look at the
// content (a cache that was packed and unpacked has new times but the old content).
func checkManifest(dir string, sums bool) error {
	f, err := os.Open(okFile(dir))
	if err != nil {
		return err
	}
	defer f.Close()
	return checkLines(dir, f, sums)
}

func checkLines(dir string, manifest io.Reader, sums bool) error {
	lines := bufio.NewScanner(manifest)
	if _, err := manifestHead(lines); err != nil {
		return err
	}
	for n := 2; lines.Scan(); n++ {
		file, err := parseManifestFile(lines.Text())
		if err != nil {
			return fmt.Errorf("%s:%d: %w", filepath.Base(okFile(dir)), n, err)
		}
		if err := file.check(dir, sums); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Damage tells what is wrong with a complete entry; nil: nothing.
func (e CacheEntry) Damage() error {
	if !e.Complete {
		return nil // being made, or to be gone on with
	}
	return checkManifest(e.Path, true)
}

// manifestHead reads the first line.
//
//	kmemgate.cache/v1 318767104
func manifestHead(lines *bufio.Scanner) (bytes int64, err error) {
	if !lines.Scan() {
		return 0, errors.Join(errors.New("empty manifest"), lines.Err())
	}
	if _, err := fmt.Sscanf(lines.Text(), manifestMagic+" %d", &bytes); err != nil {
		return 0, fmt.Errorf("manifest: unknown format %.40q", lines.Text())
	}
	return bytes, nil
}

// String is the file's line.
func (f manifestFile) String() string {
	return fmt.Sprintf("%s %d %d %q", f.sum, f.size, f.mtime, f.path)
}

func parseManifestFile(line string) (file manifestFile, err error) {
	fields := strings.SplitN(line, " ", 4)
	if len(fields) != 4 {
		return file, fmt.Errorf("manifest line %.60q: want four fields", line)
	}
	size, errSize := strconv.ParseInt(fields[1], 10, 64)
	mtime, errTime := strconv.ParseInt(fields[2], 10, 64)
	path, errPath := strconv.Unquote(fields[3])
	if err := errors.Join(errSize, errTime, errPath); err != nil {
		return file, fmt.Errorf("manifest line %.60q: %w", line, err)
	}
	file = manifestFile{sum: fields[0], size: size, mtime: mtime, path: path}
	if !filepath.IsLocal(file.path) {
		return file, fmt.Errorf("manifest: %s lies outside of the entry", strconv.Quote(file.path))
	}
	return file, nil
}

func (f manifestFile) check(dir string, sums bool) error {
	path := filepath.Join(dir, f.path)
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("%s is missing", f.path)
	}
	if !info.Mode().IsRegular() || info.Size() != f.size {
		return fmt.Errorf("%s has %d bytes, not %d", f.path, info.Size(), f.size)
	}
	if !sums || f.sum == "-" {
		return nil
	}
	want, quick, _ := strings.Cut(f.sum, "+")
	get := fileSum
	if info.ModTime().UnixNano() == f.mtime {
		if quick == "" {
			return nil
		}
		want, get = quick, quickSum
	}
	sum, err := get(path)
	if err != nil {
		return err
	}
	if sum != want {
		return fmt.Errorf("%s has other content than when it was made", f.path)
	}
	return nil
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
