package main

type filter struct{ Start, End string }

func (a *agent) walk() error             { return nil }
func (c *worker) walkStep(request) error { return nil }
