package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tegata/tegata/internal/stack"
)

// client keeps enough connections that none is opened while measuring.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections}}

func send(req *http.Request) (int, []byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	code, body, err := send(req)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("GET %s: %d", url, code)
	}
	return body, err
}

// status is what a gateway answers to a token; "" sends none.
func status(ctx context.Context, url, token string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	code, _, err := send(req)
	return code, err
}

// post posts a form as the demo's service and returns the body of a 200.
func post(ctx context.Context, url string, form url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(stack.ServiceID, stack.ServiceSecret)
	code, body, err := send(req)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("POST %s: %d %s", url, code, body)
	}
	return body, err
}

// clientCredentials gets one access token (RFC 6749 §4.4).
func clientCredentials(ctx context.Context, endpoint string) (string, error) {
	body, err := post(ctx, endpoint, tokenForm())
	if err != nil {
		return "", err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("reading a token response: %w", err)
	}
	return answer.AccessToken, nil
}

func tokenForm() url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read orders:write"}}
}
