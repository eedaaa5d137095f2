package kernels

import (
	"crypto"
	_ "embed" // for the key
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// autosigner is the key that signs kernel.org's sha256sums.asc (its owner calls itself
// "Kernel.org checksum autosigner"): the key alone, without names, which
// TestAutosigner holds against its fingerprint. https://www.kernel.org/signature.html
//
//go:embed autosigner.asc
var autosigner string

// signatureError says that a file that must be signed is not, or not by its signer.
type signatureError struct {
	address string
	err     error
}

func (e *signatureError) Error() string {
	return fmt.Sprintf("%s is not what kernel.org's autosigner signed: %v", e.address, e.err)
}

func (e *signatureError) Unwrap() error { return e.err }

// cureSignature is what to do where a file was tampered with, or is signed by a new key.
const cureSignature = "try again from another network or with a newer kmemgate; or name the tarball's URL with #sha256=…"

// signedText is the part of a clearsigned text that the key has signed: what stands
// around it is nobody's.
//
//	-----BEGIN PGP SIGNED MESSAGE-----
//	Hash: SHA256
//
//	0123…  linux-6.12.30.tar.xz
//	-----BEGIN PGP SIGNATURE-----
func signedText(text []byte, armored string) ([]byte, error) {
	key, err := publicKey(armored)
	if err != nil {
		return nil, err
	}
	block, _ := clearsign.Decode(text)
	if block == nil {
		return nil, errors.New("it has no signature")
	}
	p, err := packet.Read(block.ArmoredSignature.Body)
	if err != nil {
		return nil, fmt.Errorf("its signature: %w", err)
	}
	signature, ok := p.(*packet.Signature)
	if !ok {
		return nil, errors.New("its signature is none")
	}
	if err := verify(key, signature, block.Bytes); err != nil {
		return nil, err
	}
	return block.Bytes, nil
}

// verify refuses what SHA-1 was good enough for, and signatures that are not of a text.
func verify(key *packet.PublicKey, signature *packet.Signature, text []byte) error {
	if signature.Hash != crypto.SHA256 && signature.Hash != crypto.SHA512 {
		return fmt.Errorf("its signature is of %s", signature.Hash)
	}
	if signature.SigType != packet.SigTypeText && signature.SigType != packet.SigTypeBinary {
		return fmt.Errorf("its signature is of the type %d", signature.SigType)
	}
	hash, err := signature.PrepareVerify()
	if err != nil {
		return err
	}
	hash.Write(text)
	if signature.IssuerKeyId != nil && *signature.IssuerKeyId != key.KeyId {
		return fmt.Errorf("it is signed by the key %016X, not %016X", *signature.IssuerKeyId, key.KeyId)
	}
	if err := key.VerifySignature(hash, signature); err != nil {
		return fmt.Errorf("%w (key %X)", err, key.Fingerprint)
	}
	return nil
}

// publicKey is the first packet of an armored key.
func publicKey(armored string) (*packet.PublicKey, error) {
	block, err := armor.Decode(strings.NewReader(armored))
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	p, err := packet.Read(block.Body)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	key, ok := p.(*packet.PublicKey)
	if !ok {
		return nil, fmt.Errorf("key: it begins with a %T", p)
	}
	return key, nil
}
