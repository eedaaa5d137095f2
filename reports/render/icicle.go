package render

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	icicleRow   = 20   // pixels
	icicleBoxes = 1500 // more cannot be told apart
	icicleLeast = 0.15 // per cent of the width
	icicleDeep  = 24   // rows; kmemleak keeps 16 frames, inlined ones come on top
)

// icicle is an icicle graph laid out: widths in per cent, so that the page
// scales it and the text stays legible. No Go library draws one.
type icicle struct {
	Height int
	Total  string
	Boxes  []icicleBox
}

type icicleBox struct {
	X, Width           string // per cent
	Y, Height          int
	Class, Name, Title string
	Function           string // to search for
}

// node is a frame with all that was leaked below it.
type node struct {
	name, function, class string
	bytes                 int64
	objects               int
	children              []*node
}

func (n *node) child(name, function, class string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	c := &node{name: name, function: function, class: class}
	n.children = append(n.children, c)
	return c
}

func (n *node) add(l reports.Leak) {
	n.bytes += l.Bytes
	n.objects += l.Count
}

func newIcicle(runs []reports.Run) icicle {
	root := &node{name: "all", class: "root"}
	for _, run := range runs {
		for _, l := range run.Leaks {
			if leaked(l.Status) && l.Bytes > 0 {
				root.grow(l)
			}
		}
	}
	var g icicle
	if root.bytes <= 0 {
		return g
	}
	g.Total = join(", ", plural(root.objects, "object"), size(root.bytes))
	g.lay(root, 0, 0, float64(root.bytes))
	return g
}

// grow adds a leak below the root, the outermost frame first.
func (n *node) grow(l reports.Leak) {
	n.add(l)
	at := n
	for i, f := range slices.Backward(l.Frames) {
		if len(l.Frames)-i > icicleDeep {
			return
		}
		kind := "kernel"
		if f.Module != "" {
			kind = "module"
		}
		at = at.child(join(" ", f.Function, bracket(f.Module)), f.Function, kind)
		at.add(l)
	}
}

// lay places a node at x (in bytes) and its children below it, the widest first.
func (g *icicle) lay(n *node, depth int, x, total float64) {
	percent := func(b float64) float64 { return 100 * b / total }
	if percent(float64(n.bytes)) < icicleLeast || len(g.Boxes) == icicleBoxes {
		return
	}
	g.Boxes = append(g.Boxes, icicleBox{
		X: fmt.Sprintf("%.3f", percent(x)), Width: fmt.Sprintf("%.3f", percent(float64(n.bytes))),
		Y: depth * icicleRow, Height: icicleRow - 1, Class: n.class, Name: n.name, Function: n.function,
		Title: fmt.Sprintf("%s: %s, %s", n.name, plural(n.objects, "object"), size(n.bytes)),
	})
	g.Height = max(g.Height, (depth+1)*icicleRow)
	slices.SortStableFunc(n.children, func(a, b *node) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, c := range n.children {
		g.lay(c, depth+1, x, total)
		x += float64(c.bytes)
	}
}
