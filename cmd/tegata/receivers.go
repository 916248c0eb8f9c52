package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/tegata/tegata/internal/jose"
	"github.com/tegata/tegata/issuer/receiver"
)

// pollTimeout bounds one poll: a transmitter may wait for events.
const pollTimeout = 2 * time.Minute

// receivers are the other issuers that are heard.
func (c issuerConfig) receivers(ctx context.Context) ([]receiver.Source, error) {
	var all []receiver.Source
	for n, r := range c.Receivers {
		s := receiver.Source{
			Name: r.Name, Issuer: r.Issuer, JWKSURL: r.JWKSURL, ClientIDs: r.ClientIDs, MaxTokenLifetime: r.MaxTokenLifetime,
			SessionAsSubject: r.Sessions == sessionsBySubject, Realm: r.Realm,
		}
		for _, a := range r.Algorithms {
			s.Algorithms = append(s.Algorithms, jose.Algorithm(a))
		}
		var err error
		if s.Events, err = r.Events.source(ctx, fmt.Sprintf("issuer.receivers[%d].events", n)); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (c *eventsConfig) source(ctx context.Context, key string) (*receiver.Events, error) {
	if c == nil {
		return nil, nil
	}
	authorization, err := secretOf(key+".authorization_file", "", c.AuthorizationFile)
	if err != nil {
		return nil, err
	}
	if c.AuthorizationFile != "" && authorization == "" {
		return nil, fmt.Errorf("%s.authorization_file: %s is empty", key, c.AuthorizationFile)
	}
	e := &receiver.Events{Issuer: c.Issuer, JWKSURL: c.JWKSURL, Audience: c.Audience, Authorization: authorization, EmailIsSubject: c.EmailIsSubject}
	if c.Poll != nil {
		client, err := c.Poll.client(ctx, key+".poll")
		if err != nil {
			return nil, err
		}
		e.Poll = &receiver.Poll{URL: c.Poll.URL, HTTP: client}
	}
	return e, nil
}

// client shows a token on each poll: the one of a file, or one for the client's
// own credentials, renewed when it expires.
func (p *pollConfig) client(ctx context.Context, key string) (*http.Client, error) {
	plain := &http.Client{Timeout: pollTimeout}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, plain)
	token, err := secretOf(key+".token_file", "", p.TokenFile)
	if err != nil {
		return nil, err
	}
	source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})
	if p.ClientID != "" {
		secret, err := secretOf(key+".client_secret_file", "", p.ClientSecretFile)
		if err != nil {
			return nil, err
		}
		source = (&clientcredentials.Config{
			ClientID: p.ClientID, ClientSecret: secret, TokenURL: p.TokenURL, Scopes: p.Scopes, AuthStyle: oauth2.AuthStyleInHeader,
		}).TokenSource(ctx)
	}
	client := oauth2.NewClient(ctx, source)
	client.Timeout = pollTimeout
	return client, nil
}
