// Verifies a C2SP tlog-proof with golang.org/x/mod/sumdb/note and tlog, none of which the project wrote.
//
// Usage: verify_proof LOG_VKEY PROOF ENTRY COSIGNER_VKEY...
// Prints the number of co-signatures that hold and exits 0; exits 1 with a reason otherwise.
// C2SP cosignature/v1 lines (type 0x04) are given to the note package as a Verifier of their own.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }

func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(sig[:8])
	signed := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), msg...)
	return ed25519.Verify(c.key, signed, sig[8:])
}

func parseCosigner(vkey string) cosigner {
	parts := strings.SplitN(vkey, "+", 3)
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	check(err)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	if key[0] != 4 || len(key) != 33 {
		fail("not a cosignature/v1 key")
	}
	return cosigner{parts[0], uint32(hash), ed25519.PublicKey(key[1:])}
}

func main() {
	logVerifier, err := note.NewVerifier(os.Args[1])
	check(err)
	proofText, err := os.ReadFile(os.Args[2])
	check(err)
	entry, err := os.ReadFile(os.Args[3])
	check(err)
	verifiers := []note.Verifier{logVerifier}
	for _, vkey := range os.Args[4:] {
		verifiers = append(verifiers, parseCosigner(vkey))
	}

	cut := strings.Index(string(proofText), "\n\n")
	if cut < 0 {
		fail("no checkpoint in the proof")
	}
	head := strings.Split(string(proofText[:cut]), "\n")
	if head[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(head[1], "index ") {
		fail("not a tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(head[1], "index "), 10, 64)
	check(err)
	proof := tlog.RecordProof{}
	for _, line := range head[2:] {
		hash, err := tlog.ParseHash(line)
		check(err)
		proof = append(proof, hash)
	}

	opened, err := note.Open(proofText[cut+2:], note.VerifierList(verifiers...))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	check(tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry)))

	byLog, cosigned := 0, 0
	for _, sig := range opened.Sigs {
		if sig.Name == logVerifier.Name() && sig.Hash == logVerifier.KeyHash() {
			byLog++
		} else {
			cosigned++
		}
	}
	if byLog != 1 {
		fail("the log has not signed")
	}
	fmt.Println(cosigned)
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}
