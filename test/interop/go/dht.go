package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// exampleValidator knows values that begin with "hello"; the best is the last
// in the order of their bytes.
type exampleValidator struct{}

func (exampleValidator) Validate(_ string, value []byte) error {
	if !bytes.HasPrefix(value, []byte("hello")) {
		return errors.New("it does not begin with hello")
	}
	return nil
}

func (exampleValidator) Select(_ string, values [][]byte) (int, error) {
	best := 0
	for i, value := range values {
		if bytes.Compare(value, values[best]) > 0 {
			best = i
		}
	}
	return best, nil
}

type dhtCommand struct {
	ID      int    `json:"id"`
	Run     string `json:"run"`
	Address string `json:"address"`
	Peer    string `json:"peer"`
	Key     string `json:"key"`
	Value   string `json:"value"`
	Cid     string `json:"cid"`
	Count   int    `json:"count"`
}

// runDht is a node of the DHT that does what it is told on its standard input.
func runDht(args []string) {
	o := options{security: "noise", muxer: "yamux", keyType: "ed25519", seed: -1}
	mode := "server"
	f := flag.NewFlagSet("peer dht", flag.ExitOnError)
	f.StringVar(&o.listen, "listen", "/ip4/127.0.0.1/tcp/0", "")
	f.StringVar(&mode, "mode", "server", "")
	f.Parse(args)

	h, err := newHost(o, libp2p.ListenAddrStrings(o.listen))
	if err != nil {
		fatal(err.Error())
	}
	defer h.Close()
	modes := map[string]dht.ModeOpt{"server": dht.ModeServer, "client": dht.ModeClient}
	node, err := dht.New(h,
		dht.Mode(modes[mode]),
		dht.ProtocolPrefix("/ipfs"),
		dht.ProtocolExtension("/lan"),
		// Of the public network's own rules, that allows no other namespaces.
		dht.Validator(record.NamespacedValidator{"pk": record.PublicKeyValidator{}, "example": exampleValidator{}}),
	)
	if err != nil {
		fatal(err.Error())
	}
	defer node.Close()

	var addresses []string
	for _, a := range h.Network().ListenAddresses() {
		addresses = append(addresses, fmt.Sprintf("%s/p2p/%s", a, h.ID()))
	}
	printJSON(map[string]any{"event": "listening", "peer": h.ID().String(), "addresses": addresses})

	var out sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c dhtCommand
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			fatal(err.Error())
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			ok, err := dhtDo(ctx, h, node, c)
			out.Lock()
			defer out.Unlock()
			if err != nil {
				printJSON(map[string]any{"id": c.ID, "error": err.Error()})
				return
			}
			printJSON(map[string]any{"id": c.ID, "ok": ok})
		}()
	}
}

func dhtDo(ctx context.Context, h host.Host, node *dht.IpfsDHT, c dhtCommand) (any, error) {
	switch c.Run {
	case "connect":
		info, err := peer.AddrInfoFromString(c.Address)
		if err != nil {
			return nil, err
		}
		return struct{}{}, h.Connect(ctx, *info)
	case "table":
		return map[string]any{"peers": node.RoutingTable().Size()}, nil
	case "refresh":
		return struct{}{}, <-node.RefreshRoutingTable()
	case "find":
		id, err := peer.Decode(c.Peer)
		if err != nil {
			return nil, err
		}
		info, err := node.FindPeer(ctx, id)
		if err != nil {
			return nil, err
		}
		var addresses []string
		for _, a := range info.Addrs {
			addresses = append(addresses, a.String())
		}
		return map[string]any{"addresses": addresses}, nil
	case "closest":
		peers, err := node.GetClosestPeers(ctx, c.Key)
		return map[string]any{"peers": peers}, err
	case "put":
		return struct{}{}, node.PutValue(ctx, c.Key, []byte(c.Value))
	case "get":
		value, err := node.GetValue(ctx, c.Key)
		return map[string]any{"value": string(value)}, err
	case "provide":
		id, err := cid.Decode(c.Cid)
		if err != nil {
			return nil, err
		}
		return struct{}{}, node.Provide(ctx, id, true)
	case "providers":
		id, err := cid.Decode(c.Cid)
		if err != nil {
			return nil, err
		}
		peers := []string{}
		for info := range node.FindProvidersAsync(ctx, id, c.Count) {
			peers = append(peers, info.ID.String())
		}
		return map[string]any{"peers": peers}, nil
	default:
		return nil, fmt.Errorf("unknown command %s", strings.TrimSpace(c.Run))
	}
}
