package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// difference is one value that Keycloak and Tegata do not share.
type difference struct {
	exchange, name     string
	keycloak, tegata   string
	inKeycloak, inOurs bool
}

func (d difference) String() string {
	show := func(value string, there bool) string {
		if !there {
			return "nothing"
		}
		return fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("%s | %s | Keycloak %s, Tegata %s", d.exchange, d.name, show(d.keycloak, d.inKeycloak), show(d.tegata, d.inOurs))
}

// compare lists the differences, in the order of the conversations.
func compare(all []exchange, keycloak, tegata map[string]answer) []difference {
	var found []difference
	for _, e := range all {
		theirs, ours := keycloak[e.name], tegata[e.name]
		names := maps.Clone(theirs)
		if names == nil {
			names = make(answer)
		}
		maps.Copy(names, ours)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			d := difference{exchange: e.name, name: name}
			d.keycloak, d.inKeycloak = theirs[name]
			d.tegata, d.inOurs = ours[name]
			if d.keycloak != d.tegata || d.inKeycloak != d.inOurs {
				found = append(found, d)
			}
		}
	}
	return found
}

// known is one line of differences.txt: patterns of exchange and name, in
// which * is any text, and the reason.
type known struct {
	line           string
	exchange, name *regexp.Regexp
}

func readKnown(text string) ([]known, error) {
	var all []known
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, " | ")
		if len(parts) != 3 || parts[2] == "" {
			return nil, fmt.Errorf("%q: want exchange | name | reason", line)
		}
		all = append(all, known{line, pattern(parts[0]), pattern(parts[1])})
	}
	return all, nil
}

func pattern(s string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, ".*") + "$")
}

// judge returns the differences that are not known, and the known lines that
// no difference needs.
func judge(found []difference, all []known) (news []difference, stale []string) {
	used := make([]bool, len(all))
	for _, d := range found {
		matched := false
		for i, k := range all {
			if k.exchange.MatchString(d.exchange) && k.name.MatchString(d.name) {
				used[i], matched = true, true
			}
		}
		if !matched {
			news = append(news, d)
		}
	}
	for i, k := range all {
		if !used[i] {
			stale = append(stale, k.line)
		}
	}
	return news, stale
}
