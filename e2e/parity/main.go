package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/tegata/tegata/e2e/keycloak"
	"github.com/tegata/tegata/internal/stack"
)

func main() {
	home := flag.String("keycloak", "", "directory of an unpacked Keycloak")
	tegata := flag.String("tegata", "bin/tegata", "the tegata binary")
	data := flag.String("data", "e2e/parity/testdata", "conversations and recordings")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *home, *tegata, *data); err != nil {
		fmt.Fprintln(os.Stderr, "parity:", err)
		os.Exit(1)
	}
}

// run records Keycloak's answers and prints the differences.
func run(ctx context.Context, home, tegata, data string) error {
	if home == "" {
		return errors.New("no -keycloak; make parity fetches one")
	}
	text, err := os.ReadFile(filepath.Join(data, "conversations.txt"))
	if err != nil {
		return err
	}
	all := parse(string(text))
	file, err := os.ReadFile(filepath.Join(data, "realm.json"))
	if err != nil {
		return err
	}
	base, end, err := keycloak.Start(ctx, home, realm, file)
	if err != nil {
		return err
	}
	theirs, err := newTalk(base).hold(ctx, all)
	end()
	if err != nil {
		return fmt.Errorf("keycloak: %w", err)
	}
	if err := os.WriteFile(filepath.Join(data, "keycloak.txt"), []byte(record(all, theirs)), 0o644); err != nil {
		return err
	}
	ours, err := askTegata(ctx, all, tegata, data)
	if err != nil {
		return err
	}
	return report(compare(all, theirs, ours), data)
}

// askTegata holds the conversations with a Tegata of its own.
func askTegata(ctx context.Context, all []exchange, tegata, data string) (map[string]answer, error) {
	file, err := os.ReadFile(filepath.Join(data, "realm.json"))
	if err != nil {
		return nil, err
	}
	s, err := stack.Start(ctx, stack.Config{Tegata: tegata, More: [][]byte{file}})
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	answers, err := newTalk(s.IssuerURL).hold(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("tegata: %w", err)
	}
	return answers, nil
}

func report(found []difference, data string) error {
	text, err := os.ReadFile(filepath.Join(data, "differences.txt"))
	if err != nil {
		return err
	}
	list, err := readKnown(string(text))
	if err != nil {
		return err
	}
	news, stale := judge(found, list)
	for _, d := range news {
		fmt.Println(d)
	}
	for _, line := range stale {
		fmt.Println("listed, but there is no such difference:", line)
	}
	fmt.Printf("%d differences, %d not listed, %d listed for nothing\n", len(found), len(news), len(stale))
	if len(news)+len(stale) > 0 {
		return errors.New("say why in differences.txt, or remove the difference")
	}
	return nil
}
