package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// found prints each peer that is found on the local network, and connects to it.
type found struct {
	host host.Host
	out  *sync.Mutex
}

func (f found) HandlePeerFound(info peer.AddrInfo) {
	f.out.Lock()
	printJSON(map[string]any{"event": "found", "peer": info.ID.String(), "addresses": info.Addrs})
	f.out.Unlock()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.host.Connect(ctx, info); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", info.ID, err)
			return
		}
		f.out.Lock()
		printJSON(map[string]any{"event": "connected", "peer": info.ID.String()})
		f.out.Unlock()
	}()
}

// runLan is a node that looks for others on the local network, until its standard input closes.
func runLan(args []string) {
	o := options{security: "noise", muxer: "yamux", keyType: "ed25519", seed: -1}
	service := ""
	f := flag.NewFlagSet("peer lan", flag.ExitOnError)
	f.StringVar(&o.listen, "listen", "/ip4/0.0.0.0/tcp/0", "")
	f.StringVar(&service, "service", "", "")
	f.Parse(args)

	h, err := newHost(o, libp2p.ListenAddrStrings(o.listen))
	if err != nil {
		fatal(err.Error())
	}
	defer h.Close()
	if service != "" {
		service = fmt.Sprintf("_p2p-%s._udp", service)
	}
	var out sync.Mutex
	out.Lock()
	printJSON(map[string]any{"event": "listening", "peer": h.ID().String()})
	out.Unlock()
	discovery := mdns.NewMdnsService(h, service, found{h, &out})
	if err := discovery.Start(); err != nil {
		fatal(err.Error())
	}
	defer discovery.Close()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
	}
}
