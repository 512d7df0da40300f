// Command peer is the go-libp2p side of the interoperability suite.
// The command line is described in ../README.md.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const usage = `usage:
  peer listen --transport T --security S --muxer M --listen ADDR [--seed N] [--key-type K] [--psk FILE]
  peer dial --transport T --security S --muxer M --addr ADDR --test NAME [--bytes N] [--count N] [--psk FILE]
  peer bench listen|dial [--security S]
  peer dht --listen ADDR [--mode server|client]
  peer supports
  peer --version-info`

// supports is what `peer supports` prints; every combination works.
// go-libp2p has removed mplex.
var supports = map[string][]string{
	"transports": {"tcp"},
	"securities": {"noise", "tls"},
	"muxers":     {"yamux"},
	"keyTypes":   {"ed25519", "secp256k1", "ecdsa", "rsa"},
}

type options struct {
	transport, security, muxer string
	keyType                    string
	seed                       int64
	listen, psk                string
	addr, test                 string
	bytes                      uint64
	count                      int
}

func main() {
	if len(os.Args) < 2 {
		fatal(usage)
	}
	switch os.Args[1] {
	case "listen":
		listen(parse(os.Args[2:]))
	case "dial":
		dial(parse(os.Args[2:]))
	case "bench":
		bench(os.Args[2:])
	case "dht":
		runDht(os.Args[2:])
	case "lan":
		runLan(os.Args[2:])
	case "supports":
		printJSON(supports)
	case "--version-info":
		printJSON(map[string]string{"stack": "go-libp2p", "version": version()})
	default:
		fatal(usage)
	}
}

func parse(args []string) options {
	var o options
	f := flag.NewFlagSet("peer", flag.ExitOnError) // exits with 2 on a bad flag
	f.StringVar(&o.transport, "transport", "tcp", "")
	f.StringVar(&o.security, "security", "noise", "")
	f.StringVar(&o.muxer, "muxer", "yamux", "")
	f.StringVar(&o.keyType, "key-type", "ed25519", "")
	f.Int64Var(&o.seed, "seed", -1, "")
	f.StringVar(&o.listen, "listen", "/ip4/127.0.0.1/tcp/0", "")
	f.StringVar(&o.psk, "psk", "", "")
	f.StringVar(&o.addr, "addr", "", "")
	f.StringVar(&o.test, "test", "", "")
	f.Uint64Var(&o.bytes, "bytes", 64<<20, "")
	f.IntVar(&o.count, "count", 1000, "")
	f.Usage = func() { fmt.Fprintln(os.Stderr, usage) }
	f.Parse(args)

	for kind, value := range map[string]string{
		"transports": o.transport, "securities": o.security, "muxers": o.muxer, "keyTypes": o.keyType,
	} {
		if !slices.Contains(supports[kind], value) {
			fatal(fmt.Sprintf("go-libp2p does not support %q (%s: %s)", value, kind, strings.Join(supports[kind], ", ")))
		}
	}
	if o.seed >= 0 && o.keyType != "ed25519" {
		fatal("--seed needs --key-type ed25519")
	}
	return o
}

// newHost makes a host with exactly one transport, one security protocol and
// one muxer, and with every limit of go-libp2p lifted.
func newHost(o options, extra ...libp2p.Option) (host.Host, error) {
	key, err := privateKey(o)
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent("interop-go"),
		libp2p.ProtocolVersion("ipfs/0.1.0"),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
	}
	if o.psk != "" {
		file, err := os.Open(o.psk)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		psk, err := pnet.DecodeV1PSK(file)
		if err != nil {
			return nil, err
		}
		opts = append(opts, libp2p.PrivateNetwork(psk))
	}
	switch o.security {
	case "noise":
		opts = append(opts, libp2p.Security(noise.ID, noise.New))
	case "tls":
		opts = append(opts, libp2p.Security(tls.ID, tls.New))
	}
	muxer := *yamux.DefaultTransport
	if o.addr == "" {
		// Inbound streams past the backlog are reset, so a listener takes a
		// long one. A dialer keeps the default: there the backlog is also how
		// many unacknowledged streams it opens, and more than 256 may be too
		// many for the listener.
		muxer.AcceptBacklog = 4096
	}
	opts = append(opts, libp2p.Muxer(yamux.ID, &muxer))
	return libp2p.New(append(opts, extra...)...)
}

func privateKey(o options) (crypto.PrivKey, error) {
	if o.seed >= 0 {
		seed := make([]byte, ed25519.SeedSize)
		binary.LittleEndian.PutUint64(seed, uint64(o.seed))
		return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	}
	types := map[string]int{
		"ed25519": crypto.Ed25519, "secp256k1": crypto.Secp256k1, "ecdsa": crypto.ECDSA, "rsa": crypto.RSA,
	}
	key, _, err := crypto.GenerateKeyPairWithReader(types[o.keyType], 2048, rand.Reader) // the size is for RSA only
	return key, err
}

func listen(o options) {
	h, err := newHost(o, libp2p.ListenAddrStrings(o.listen))
	if err != nil {
		fatal(err.Error())
	}
	serve(h)

	var addresses []string
	for _, a := range h.Network().ListenAddresses() {
		addresses = append(addresses, fmt.Sprintf("%s/p2p/%s", a, h.ID()))
	}
	printJSON(map[string]any{"event": "listening", "peer": h.ID().String(), "addresses": addresses})

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	stdin := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stdin)
	}()
	select {
	case <-stop:
	case <-stdin:
	}
	h.Close()
}

// version is the go-libp2p version this binary was built with.
func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		if dep.Path == "github.com/libp2p/go-libp2p" {
			return strings.TrimPrefix(dep.Version, "v")
		}
	}
	return "unknown"
}

func printJSON(v any) {
	json.NewEncoder(os.Stdout).Encode(v)
}

func fatal(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
