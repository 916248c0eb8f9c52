package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// This test binary is also the program that it starts: PROGRAM says which.
const (
	programServe  = "serve"  // be ready on ADDR, hold a line to LINE, end on SIGTERM
	programFail   = "fail"   // say why and end
	programTaken  = "taken"  // try to listen on ADDR, which is taken
	programParent = "parent" // start a serve as a Process, and wait to be killed
)

func TestMain(m *testing.M) {
	switch os.Getenv("PROGRAM") {
	case programServe:
		serve()
	case programFail:
		fmt.Println("no such flag: --nonsense")
		os.Exit(3)
	case programTaken:
		_, err := net.Listen("tcp", os.Getenv("ADDR"))
		fmt.Println(err)
		os.Exit(1)
	case programParent:
		parent()
	default:
		os.Exit(m.Run())
	}
}

func serve() {
	line, err := net.Dial("tcp", os.Getenv("LINE"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer func() { _ = line.Close() }() // the kernel closes it when we die
	err = http.ListenAndServe(os.Getenv("ADDR"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	fmt.Println(err)
	os.Exit(1)
}

func parent() {
	p := &Process{
		Name: "child", Args: []string{os.Args[0]}, LogFile: os.Getenv("LOG"), ReadyURL: "http://" + os.Getenv("ADDR"),
		Env: []string{"PROGRAM=" + programServe},
	}
	if err := p.Start(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	<-p.Done()
}

// line hears when a program dies: the connection it holds ends.
type line struct{ l net.Listener }

func newLine(t *testing.T) line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return line{l}
}

// pickUp waits for the program's call; the function it returns waits for its end.
func (l line) pickUp(t *testing.T) (ended func() error) {
	t.Helper()
	c, err := l.l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return func() error {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err := io.ReadAll(c)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return errors.New("the program is still alive")
		}
		return nil // EOF or reset: gone
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0])
}

func program(t *testing.T, name, addr string, env ...string) *Process {
	t.Helper()
	return &Process{
		Name: name, Args: []string{os.Args[0]}, LogFile: filepath.Join(t.TempDir(), "log"), ReadyURL: "http://" + addr,
		Env: append([]string{"PROGRAM=" + name, "ADDR=" + addr}, env...),
	}
}

func TestProcessIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	l, addr := newLine(t), freeAddr(t)
	p := program(t, programServe, addr, "LINE="+l.l.Addr().String())
	for _, end := range []func(){p.Kill, p.Stop, p.Kill} {
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := l.pickUp(t)
		if p.PID() == 0 {
			t.Error("running, but PID is 0")
		}
		if err := p.Launch(); err == nil {
			t.Error("started twice at the same time")
		}
		end()
		if err := ended(); err != nil {
			t.Error(err)
		}
		if p.PID() != 0 {
			t.Error("ended, but PID is not 0")
		}
		end() // again: nothing to do
	}
}

func TestProcessThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	p := program(t, programFail, freeAddr(t))
	err := p.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such flag: --nonsense") {
		t.Errorf("got %v, want the exit status and the end of the log", err)
	}
}

func TestTakenPortIsRecognised(t *testing.T) {
	t.Parallel()
	taken := newLine(t)
	// Nothing answers HTTP there, so only the program's own words can say it.
	p := program(t, programTaken, taken.l.Addr().String())
	p.ReadyURL = "http://" + freeAddr(t)
	if err := p.Start(t.Context()); !errors.Is(err, errPortTaken) {
		t.Errorf("got %v, want errPortTaken", err)
	}
}

func TestWaitingForReadyEndsWithTheContext(t *testing.T) {
	t.Parallel()
	l, addr := newLine(t), freeAddr(t)
	p := program(t, programServe, addr, "LINE="+l.l.Addr().String())
	p.ReadyURL = "http://" + freeAddr(t) // never
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended := l.pickUp(t)
		cancel()
		_ = ended()
	}()
	if err := p.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if p.PID() != 0 {
		t.Error("left behind")
	}
}

// TestChildrenDieWithUs: a killed demo leaves nothing behind.
func TestChildrenDieWithUs(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has a parent-death signal")
	}
	l, addr := newLine(t), freeAddr(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PROGRAM="+programParent, "ADDR="+addr, "LINE="+l.l.Addr().String(), "LOG="+filepath.Join(t.TempDir(), "log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := l.pickUp(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if err := ended(); err != nil {
		t.Error(err)
	}
}

func TestFreePortsAreDifferent(t *testing.T) {
	t.Parallel()
	ports, err := freePorts(50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] {
			t.Errorf("port %d twice", p)
		}
		seen[p] = true
	}
}
