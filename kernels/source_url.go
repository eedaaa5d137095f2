package kernels

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// splitURL takes a tarball's address apart:
//
//	https://HOST/linux-6.12.1.tar.xz#sha256=0123…
func splitURL(name string) (address, sum string, err error) {
	const form = "the form is https://HOST/linux-6.12.1.tar.xz#sha256=SUM"
	u, err := url.Parse(name)
	if err != nil {
		return "", "", usageErr(form, "kernel %q: %w", name, err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", "", usageErr(form, "kernel %q: no http or https address", name)
	}
	sum, ok := strings.CutPrefix(strings.ToLower(u.Fragment), "sha256=")
	if !ok || !hexSum.MatchString(sum) {
		return "", "", usageErr(form, "kernel %q: no #sha256= with 64 hexadecimal digits", name)
	}
	u.Fragment = ""
	return u.String(), sum, nil
}

func (b *Builder) urlCandidate(name string) (*candidate, error) {
	address, sum, err := splitURL(name)
	if err != nil {
		return nil, err
	}
	return &candidate{
		key:    "url-" + sum[:24],
		origin: address,
		fetch: func(ctx context.Context, tree string) error {
			b.logf("kernel: fetching %s", address)
			return b.fetchTarball(ctx, address, sum, tree)
		},
	}, nil
}

// fetchTarball downloads a tarball, checks its sum, and only then unpacks it.
func (b *Builder) fetchTarball(ctx context.Context, address, sum, tree string) error {
	file := filepath.Join(filepath.Dir(tree), path.Base(address)+".part")
	defer os.Remove(file)
	if err := b.downloader().toFile(ctx, address, sum, file); err != nil {
		return err
	}
	return unpackTarball(ctx, file, tree)
}

// unpackTarball unpacks with tar(1), which knows every compression by its
// first bytes and lets nothing out of the directory.
func unpackTarball(ctx context.Context, file, tree string) error {
	name := strings.TrimSuffix(filepath.Base(file), ".part")
	err := runTar(ctx, &Command{Args: []string{"tar", "-xf", file, "--no-same-owner", "--strip-components=1", "-C", tree}})
	var tar *CommandError
	switch {
	case err != nil && notTarball.MatchString(err.Error()) && errors.As(err, &tar):
		return &Error{Fault: FaultKernel, Err: fmt.Errorf("%s is no tarball: %s", name, tar.Telling), Cure: cureTarball}
	case err != nil:
		return err
	}
	if _, err := treeVersion(tree); err != nil {
		return &Error{Fault: FaultKernel, Err: fmt.Errorf("%s is no kernel source: %w", name, err), Cure: cureTarball}
	}
	return nil
}

// cureTarball is for a file that is what its sum says, but no kernel.
const cureTarball = "name the address of a kernel's source, such as linux-6.12.30.tar.xz, with its own sum"

// notTarball matches what tar, or what unpacks for it, says of another file.
// Example: tar: This does not look like a tar archive
// Example: gzip: stdin: not in gzip format
// Example: xz: (stdin): Unexpected end of input
var notTarball = regexp.MustCompile(`does not look like a tar archive|\(?stdin\)?: |/\*stdin\*`)

// runTar runs tar and puts what goes wrong down to the disk or the tarball.
func runTar(ctx context.Context, c *Command) error {
	if _, err := lookTool("xz"); err != nil {
		return err
	}
	err := c.Run(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return buildErr(err, FaultHost, "unpack")
}
