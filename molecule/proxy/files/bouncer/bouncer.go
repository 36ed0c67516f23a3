// Package crowdsec_bouncer_traefik_plugin is a stand-in, for tests: the real plugin cannot be fetched there. It has the real one's name,
// so that the same configuration loads it, and as much of its behaviour in stream mode as a deployment can see: settings, key file,
// decisions of the local API, what happens while that does not answer, and one state for all instances in a Traefik.
package crowdsec_bouncer_traefik_plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Config has the real plugin's names and defaults.
type Config struct {
	Enabled                    bool     `json:"enabled,omitempty"`
	CrowdsecMode               string   `json:"crowdsecMode,omitempty"`
	CrowdsecLapiScheme         string   `json:"crowdsecLapiScheme,omitempty"`
	CrowdsecLapiHost           string   `json:"crowdsecLapiHost,omitempty"`
	CrowdsecLapiKey            string   `json:"crowdsecLapiKey,omitempty"`
	CrowdsecLapiKeyFile        string   `json:"crowdsecLapiKeyFile,omitempty"`
	UpdateIntervalSeconds      int64    `json:"updateIntervalSeconds,omitempty"`
	UpdateMaxFailure           int64    `json:"updateMaxFailure"`
	StreamStartupBlock         bool     `json:"streamStartupBlock,omitempty"`
	ForwardedHeadersTrustedIPs []string `json:"forwardedHeadersTrustedIps,omitempty"`
}

// CreateConfig gives the defaults.
func CreateConfig() *Config {
	return &Config{CrowdsecMode: "live", CrowdsecLapiScheme: "http", CrowdsecLapiHost: "crowdsec:8080", UpdateIntervalSeconds: 60, StreamStartupBlock: true}
}

type state struct {
	sync.Mutex
	running  bool
	synced   bool
	failures int64
	banned   map[string]bool
}

var shared = &state{banned: map[string]bool{}}

type bouncer struct {
	next   http.Handler
	config *Config
}

// New makes the middleware. An error here makes Traefik drop every router that names it.
func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	if !config.Enabled {
		return &bouncer{next: next, config: config}, nil
	}
	if config.CrowdsecMode != "stream" {
		return nil, fmt.Errorf("the stand-in knows the mode stream only, not %q", config.CrowdsecMode)
	}
	key := config.CrowdsecLapiKey
	if config.CrowdsecLapiKeyFile != "" {
		text, err := os.ReadFile(config.CrowdsecLapiKeyFile)
		if err != nil {
			return nil, fmt.Errorf("crowdsecLapiKeyFile: %w", err)
		}
		key = strings.TrimSpace(string(text))
	}
	if key == "" {
		return nil, fmt.Errorf("crowdsecLapiKey or crowdsecLapiKeyFile is needed")
	}
	shared.Lock()
	start := !shared.running
	shared.running = true
	shared.Unlock()
	if start {
		go func() {
			for {
				update(config, key)
				time.Sleep(time.Duration(config.UpdateIntervalSeconds) * time.Second)
			}
		}()
	}
	return &bouncer{next: next, config: config}, nil
}

type decision struct {
	Value string `json:"value"`
	Type  string `json:"type"`
}

func update(config *Config, key string) {
	found, err := fetch(config, key)
	shared.Lock()
	defer shared.Unlock()
	if err != nil {
		shared.failures++
		return
	}
	shared.failures, shared.synced = 0, true
	banned := map[string]bool{}
	for _, each := range found {
		banned[each.Value] = each.Type == "ban"
	}
	shared.banned = banned
}

func fetch(config *Config, key string) ([]decision, error) {
	url := config.CrowdsecLapiScheme + "://" + config.CrowdsecLapiHost + "/v1/decisions/stream?startup=true"
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Api-Key", key)
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the local API answered %d", answer.StatusCode)
	}
	var all struct {
		New []decision `json:"new"`
	}
	err = json.NewDecoder(answer.Body).Decode(&all)
	return all.New, err
}

func (b *bouncer) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	if !b.config.Enabled {
		b.next.ServeHTTP(writer, request)
		return
	}
	client, _, err := net.SplitHostPort(request.RemoteAddr)
	if err != nil {
		client = request.RemoteAddr
	}
	shared.Lock()
	failed := shared.failures > 0 && b.config.UpdateMaxFailure >= 0 && shared.failures > b.config.UpdateMaxFailure
	starting := !shared.synced && b.config.StreamStartupBlock
	refused := failed || starting || shared.banned[client]
	shared.Unlock()
	if refused {
		writer.WriteHeader(http.StatusForbidden)
		return
	}
	b.next.ServeHTTP(writer, request)
}
