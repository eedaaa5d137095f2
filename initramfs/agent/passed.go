package main

import (
	"bytes"
	"slices"
)

// maxPassed bounds what is kept of records that came and went: they are shown,
// and decide nothing.
const maxPassed = 1 << 20

// passedRecords are the records of reads before the last two, of which nothing
// else is kept, that were not in the reads that followed. The host leaves out
// those that came back.
type passedRecords struct {
	seen map[record]bool
	buf  bytes.Buffer
}

func (p *passedRecords) text() []byte { return p.buf.Bytes() }

// keep takes what an old read has and later ones have not.
func (p *passedRecords) keep(old []byte, later ...[]byte) {
	if agree(old, later[0]) {
		return
	}
	there := map[record]bool{}
	for _, text := range later {
		for _, r := range records(text) {
			there[r] = true
		}
	}
	texts := splitRecords(old)
	for i, r := range records(old) {
		if there[r] || p.seen[r] || p.buf.Len()+len(texts[i]) > maxPassed {
			continue
		}
		if p.seen == nil {
			p.seen = map[record]bool{}
		}
		p.seen[r] = true
		p.buf.Write(texts[i])
	}
}

// splitRecords cuts a read in front of each record's head.
func splitRecords(text []byte) [][]byte {
	var list [][]byte
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, objectWord) {
			list = append(list, nil)
		}
		if n := len(list); n > 0 {
			list[n-1] = append(list[n-1], line...)
		}
	}
	return slices.Clip(list)
}
