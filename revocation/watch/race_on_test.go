//go:build race

package watch

// raced says that everything takes ten times as long; a test with one goroutine
// proves nothing more by it.
const raced = true
