package initramfs

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// dirCache is a cache without a lock, for tests.
func dirCache(root string, made *int) Cache {
	return func(ctx context.Context, kind, key string, make func(context.Context, string) error) (string, func(), error) {
		dir := filepath.Join(root, kind, key)
		if _, err := os.Stat(dir); err == nil {
			return dir, func() {}, nil
		}
		*made++
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", nil, err
		}
		return dir, func() {}, make(ctx, dir)
	}
}

func TestZ(t *testing.T) {
	n := 0
	b := Builder{Cache: dirCache("/tmp/ini/cache", &n), Log: os.Stderr}
	for _, arch := range []string{"x86_64", "arm64"} {
		t.Log(b.Agent(t.Context(), arch))
		t.Log(b.Userland(t.Context(), arch))
	}
}
