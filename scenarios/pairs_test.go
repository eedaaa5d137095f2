package scenarios

// Pairs are the kernels and architectures that the suite is for: the oldest, a
// middle and the newest series at hand.
var Pairs = []string{"6.1/x86_64", "6.1/arm64", "6.12/x86_64", "6.12/arm64", "7/x86_64", "7/arm64"}
