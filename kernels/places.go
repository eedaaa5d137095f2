package kernels

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Place is where something is fetched from, and why it cannot be now.
type Place struct {
	Name string
	Err  error
}

// placeTimeout is how long a place may take to answer.
const placeTimeout = 5 * time.Second

// Places asks those that a run may fetch from, all at once, whether they answer:
// kernel.org, Debian's mirror as apt has it configured, the Go module proxy.
func Places(ctx context.Context) []Place {
	places := []Place{{Name: "kernel.org"}, {Name: "Debian's mirror"}, {Name: "Go module proxy"}}
	address := []func(context.Context) (string, error){
		func(context.Context) (string, error) { return releasesURL, nil },
		debianMirror,
		goProxy,
	}
	var all sync.WaitGroup
	for i := range places {
		all.Go(func() {
			ctx, cancel := context.WithTimeoutCause(ctx, placeTimeout, errors.New("no answer within "+placeTimeout.String()))
			defer cancel()
			url, err := address[i](ctx)
			if err == nil {
				err = answers(ctx, url)
			}
			places[i].Err = err
		})
	}
	all.Wait()
	return places
}

// answers tells whether there is a server that answers, with whatever status.
func answers(ctx context.Context, address string) error {
	body, _, err := (&downloader{client: &http.Client{}}).get(ctx, address)
	if err == nil {
		return body.Close()
	}
	var said *statusError
	if errors.As(err, &said) && said.code < 500 {
		return nil
	}
	return because(ctx, err)
}

func debianMirror(ctx context.Context) (string, error) {
	if _, err := lookTool("apt-get"); err != nil {
		return "", errors.New("no apt on this machine")
	}
	mirrors, err := new(apt).mirrors(ctx)
	return mirrors["debian"] + "/dists/", err
}

// goProxy is the first of GOPROXY's list.
//
// Example: https://HOST,direct
func goProxy(ctx context.Context) (string, error) {
	out, err := (&Command{Args: []string{"go", "env", "GOPROXY"}}).Output(ctx)
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(out), ",")
	first, _, _ = strings.Cut(first, "|")
	if !strings.Contains(first, "://") {
		return "", errors.New("GOPROXY names none: " + first)
	}
	return first, nil
}
