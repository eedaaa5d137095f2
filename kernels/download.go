package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// downloader fetches over HTTP within bounds. The zero value works.
type downloader struct {
	client *http.Client  // nil: one that refuses to fall back to http
	max    int64         // bytes of a file; 0: maxTarball
	stall  time.Duration // without a byte; 0: a minute
}

// maxTarball bounds a tarball: linux-6.12.tar.xz has 148 MB, the .gz 240 MB.
const maxTarball = 600 << 20

// toFile downloads to a new file and checks its sum.
func (d *downloader) toFile(ctx context.Context, address, sum, file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return hostErr(err, "fetch %s", address)
	}
	defer f.Close()
	h := sha256.New()
	if err := d.copy(ctx, address, io.MultiWriter(f, h)); err != nil {
		return fetchErr(err, address)
	}
	if err := f.Close(); err != nil {
		return hostErr(err, "fetch %s", address)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return &Error{
			Fault: FaultHost, Err: fmt.Errorf("fetch %s: its sha256 is %s, not %s", address, got, sum),
			Cure: "correct the sum if it is mistyped; else the file is not what it claims to be",
		}
	}
	return nil
}

// text downloads a small file.
func (d *downloader) text(ctx context.Context, address string, max int64) ([]byte, error) {
	small := *d
	small.max = max
	var b limitedBuffer
	if err := small.copy(ctx, address, &b); err != nil {
		return nil, fmt.Errorf("fetch %s: %w", address, err)
	}
	return b.bytes, nil
}

type limitedBuffer struct{ bytes []byte }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

var errStalled = errors.New("no data for too long")

func (d *downloader) copy(ctx context.Context, address string, to io.Writer) error {
	limit, stall := d.max, d.stall
	if limit == 0 {
		limit = maxTarball
	}
	if stall == 0 {
		stall = time.Minute
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watchdog.Stop()
	body, size, err := d.get(ctx, address)
	if err != nil {
		return because(ctx, err)
	}
	defer body.Close()
	if size > limit {
		return fmt.Errorf("%d MB, more than the %d MB a kernel's source may have", size>>20, limit>>20)
	}
	n, err := io.Copy(to, &watchedReader{body, func() { watchdog.Reset(stall) }, limit})
	if err != nil {
		return because(ctx, err)
	}
	if size >= 0 && n != size {
		return fmt.Errorf("cut off after %d of %d bytes", n, size)
	}
	return nil
}

// because prefers the reason for which we hung up to how that shows.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (d *downloader) get(ctx context.Context, address string) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("User-Agent", "kmemgate")
	client := d.client
	if client == nil {
		client = &http.Client{CheckRedirect: noDowngrade}
	}
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is named already
		}
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, 0, &statusError{resp.StatusCode, resp.Status}
	}
	return resp.Body, resp.ContentLength, nil
}

// statusError is a server's answer that is no file.
type statusError struct {
	code int
	text string // Example: 404 Not Found
}

func (e *statusError) Error() string { return "the server says " + e.text }

// cureNetwork is what to do where no server can be reached.
const cureNetwork = "connect this machine to the network, or name a source directory"

// fetchErr tells what cures a download that failed: it is the disk, the address,
// the network, or the moment.
func fetchErr(err error, address string) error {
	told := hostErr(err, "fetch %s", address)
	var e *Error
	var said *statusError
	var network *net.OpError
	if !errors.As(told, &e) || e.Cure != "" {
		return told
	}
	switch {
	case errors.As(err, &said) && said.code/100 == 4:
		e.Cure = "correct the address"
	case errors.As(err, &network):
		e.Cure = cureNetwork
	case errors.Is(err, errStalled), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &said):
		e.Cure = "run it again, or name another mirror"
	}
	return told
}

// noDowngrade follows at most five redirects and none from https to http.
func noDowngrade(req *http.Request, via []*http.Request) error {
	if len(via) > 5 {
		return errors.New("more than five redirects")
	}
	if req.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
		return errors.New("redirected from https to http")
	}
	return nil
}

// watchedReader feeds the watchdog and stops at the limit.
type watchedReader struct {
	r    io.Reader
	feed func()
	left int64
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.feed()
	}
	if w.left -= int64(n); w.left < 0 {
		return 0, errors.New("more bytes than a kernel's source may have")
	}
	return n, err
}
