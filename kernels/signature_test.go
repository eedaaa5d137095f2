package kernels

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/stretchr/testify/require"
)

// TestAutosigner: the embedded key has the fingerprint that kernel.org's autosigner
// is known by, and verifies a file that it signed on 2023-04-25, the sums of git's
// oldest packages (kernel.org, pub/software/scm/git/debian). No byte of what it
// signed can be another.
func TestAutosigner(t *testing.T) {
	key, err := publicKey(autosigner)
	require.NoError(t, err)
	require.Equal(t, "B8868C80BA62A1FFFAF5FDA9632D3A06589DA6B1", fmt.Sprintf("%X", key.Fingerprint))
	file, err := os.ReadFile("testdata/signed/sha256sums.asc")
	require.NoError(t, err)
	text, err := signedText(file, autosigner)
	require.NoError(t, err)
	require.Len(t, strings.Split(string(text), "\r\n"), 12)
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		if got, err := signedText(changed, autosigner); err == nil {
			require.Equal(t, string(text), string(got), "byte %d", i)
		}
	}
}

// testSigner makes a key as kernel.org's is, once.
var testSigner = sync.OnceValue(func() *packet.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return packet.NewRSAPrivateKey(time.Now().Add(-time.Hour), key)
})

// testKey is its public half, armored.
func testKey(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, "PGP PUBLIC KEY BLOCK", nil)
	require.NoError(t, err)
	require.NoError(t, testSigner().PublicKey.Serialize(w))
	require.NoError(t, w.Close())
	return b.String()
}

// sign clearsigns a text.
func sign(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, testSigner(), nil)
	require.NoError(t, err)
	_, err = w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

// TestTamperedSums: sums that kernel.org's autosigner did not sign end the search, at
// the host's fault; Debian is not asked. Those beside the signed ones are not read.
func TestTamperedSums(t *testing.T) {
	line := func(digit string) string { return strings.Repeat(digit, 64) + "  linux-6.12.9.tar.xz\n" }
	signed := sign(t, line("a"))
	for name, c := range map[string]struct{ sums, says string }{
		"changed":        {strings.Replace(signed, "aaaa", "bbbb", 1), "signature"},
		"not signed":     {line("a"), "it has no signature"},
		"cut":            {signed[:strings.Index(signed, "-----BEGIN PGP SIGNATURE")], "it has no signature"},
		"another's":      {signed, "it is signed by the key "},
		"before":         {line("b") + signed, ""},
		"after":          {signed + line("b"), ""},
		"nothing signed": {sign(t, "") + line("b"), "has none of 6.12"},
	} {
		t.Run(name, func(t *testing.T) {
			mux := http.NewServeMux()
			server := httptest.NewServer(mux)
			defer server.Close()
			mux.HandleFunc("/v6.x/sha256sums.asc", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.sums) })
			mux.HandleFunc("/releases.json", func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"releases":[{"moniker":"stable","version":"6.12.9","source":"%s/v6.x/linux-6.12.9.tar.xz"}]}`, server.URL)
			})
			b, _ := testBuilder(t)
			b.ReleasesURL, b.ReleasesKey = server.URL+"/releases.json", testKey(t)
			if name == "another's" {
				b.ReleasesKey = autosigner
			}
			found, err := b.kernelOrg().find(t.Context(), version{6, 12})
			if c.says == "" {
				require.NoError(t, err)
				require.Equal(t, "6.12.9-"+strings.Repeat("a", 16), found.key)
				return
			}
			require.ErrorContains(t, err, c.says)
			if name == "nothing signed" {
				return
			}
			_, err = b.resolve(t.Context(), "6.12")
			require.ErrorContains(t, err, "host: kernel 6.12: "+server.URL+"/v6.x/sha256sums.asc is not what kernel.org's autosigner signed: ")
			require.ErrorContains(t, err, cureSignature)
			require.False(t, IsUsage(err))
		})
	}
}
