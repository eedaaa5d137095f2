package kernels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	oras "oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Registry is where kernels are pushed to and pulled from.
type Registry struct {
	// Reference is REGISTRY/REPO, with ":TAG" or "@sha256:…"; without, the tag
	// is "latest".
	Reference string
	// PlainHTTP allows a registry without TLS; one on this machine is always
	// spoken to like that.
	PlainHTTP bool
}

// CheckReference tells whether a registry's reference can be one at all.
func CheckReference(reference string) error {
	_, err := parseReference(reference)
	return err
}

func parseReference(reference string) (registry.Reference, error) {
	ref, err := registry.ParseReference(reference)
	if err != nil {
		return ref, usageErr("the form is REGISTRY/REPO[:TAG], as in ghcr.io/OWNER/kernels", "%q: %w", reference, err)
	}
	ref.Reference = ref.ReferenceOrDefault()
	return ref, nil
}

// open makes the client of a repository. Credentials are those of `docker
// login`, from its config file or the helper that it names.
func (r Registry) open() (*remote.Repository, error) {
	ref, err := parseReference(r.Reference)
	if err != nil {
		return nil, err
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, hostErr(err, "registry %s: docker's config file", ref.Registry)
	}
	return &remote.Repository{
		Reference: ref,
		PlainHTTP: r.PlainHTTP || loopback(ref.Registry),
		Client: &auth.Client{
			Client:     &http.Client{Transport: retry.NewTransport(nil), CheckRedirect: noDowngrade},
			Header:     http.Header{"User-Agent": {"kmemgate"}},
			Cache:      auth.NewCache(),
			Credential: credentials.Credential(store),
		},
	}, nil
}

// loopback reports whether a registry (host or host:port) is on this machine.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// registryErr says what a registry did, and the cure where the answer names it.
func registryErr(err error, ref registry.Reference, what string) error {
	var known *Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	e := &Error{Fault: FaultHost, Err: fmt.Errorf("%s %s: %w", what, ref, err)}
	var answer *errcode.ErrorResponse
	switch {
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden),
		errors.Is(err, auth.ErrBasicCredentialNotFound):
		e.Cure = "docker login " + ref.Registry
	case errors.Is(err, errdef.ErrNotFound):
		e.Cure = "kmemgate kernel push it first, or correct the name"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.Cure = "--plain-http, where the network is to be trusted"
	default:
		return hostErr(e.Err, "registry") // with the cure of a full disk
	}
	return e
}

// maxMetadata bounds an index, a manifest and a provenance: registries refuse
// larger ones.
const maxMetadata = 4 << 20

// fetchJSON fetches a small blob or manifest, whose size and digest must be what
// its descriptor says, and parses it.
func fetchJSON(ctx context.Context, from oras.Fetcher, desc ocispec.Descriptor, into any) error {
	text, err := fetchSmall(ctx, from, desc)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return nil
}

func fetchSmall(ctx context.Context, from oras.Fetcher, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > maxMetadata {
		return nil, fmt.Errorf("%s: %d bytes, more than the %d that it may have", desc.Digest, desc.Size, maxMetadata)
	}
	rc, err := from.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	text, err := oras.ReadAll(rc, desc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return text, nil
}
