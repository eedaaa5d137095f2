package leaktest_test

import (
	"testing"

	"github.com/kmemgate/kmemgate/harness/leaktest"
)

// TestLeaks is what a driver's repository holds: its directories, one line.
func TestLeaks(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a VM")
	}
	leaktest.Run(t, leaktest.Options{}, "../../scenarios/clean")
}

func ExampleRun() {
	_ = func(t *testing.T) { // func TestLeaks(t *testing.T)
		leaktest.Run(t, leaktest.Options{
			Kernels: []string{"6.1", "6.12"},
			Arches:  []string{"x86_64", "arm64"},
		}, "../drivers/foo", "../drivers/bar")
	}
}
