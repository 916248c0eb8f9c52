package main

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestOurOwnCPUGrows(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	before, err := cpu(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		now, err := cpu(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			return
		}
	}
	t.Errorf("CPU time stood at %v for 10 s of work", before)
}

func TestMemoryIsThatOfAGoProgram(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	got, err := rss(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got < 1 || got > 4096 {
		t.Errorf("%v MiB", got)
	}
}

func TestAProgramThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	const beyond = 1 << 30 // above the highest pid of Linux
	if _, err := cpu(beyond); err == nil {
		t.Error("CPU time of a process that is not there")
	}
	if _, err := rss(beyond); err == nil {
		t.Error("memory of a process that is not there")
	}
}
