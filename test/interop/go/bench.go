package main

// The go-libp2p side of the benchmarks. The contract is described in
// ../../../bench/README.md. Identify comes with the host and cannot be left out.

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

const (
	benchEcho   = protocol.ID("/bench/echo/1.0.0")
	benchSink   = protocol.ID("/bench/sink/1.0.0")
	benchSource = protocol.ID("/bench/source/1.0.0")
)

type benchCommand struct {
	ID          int     `json:"id"`
	Run         string  `json:"run"`
	Address     string  `json:"address"`
	Seconds     float64 `json:"seconds"`
	Size        int     `json:"size"`
	Concurrency int     `json:"concurrency"`
	Count       int     `json:"count"`
	Connections int     `json:"connections"`
	Streams     int     `json:"streams"`
}

func (c benchCommand) duration() time.Duration {
	return time.Duration(c.Seconds * float64(time.Second))
}

type bencher struct {
	options options
	hosts   []host.Host
	held    []network.Stream
}

func bench(args []string) {
	if len(args) < 1 || (args[0] != "listen" && args[0] != "dial") {
		fatal("usage: peer bench listen|dial [--security S]")
	}
	b := &bencher{options: parse(args[1:])}
	ready := map[string]any{"event": "ready"}
	if args[0] == "listen" {
		h, err := newHost(b.options, libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
		if err != nil {
			fatal(err.Error())
		}
		serveBench(h)
		b.hosts = append(b.hosts, h)
		ready["address"] = fmt.Sprintf("%s/p2p/%s", h.Network().ListenAddresses()[0], h.ID())
	} else {
		b.options.addr = "dialer" // see newHost
		if err := b.have(1); err != nil {
			fatal(err.Error())
		}
	}
	printJSON(ready)
	lines := make(chan string)
	go func() {
		scanner := bufio.NewScanner(os.Stdin)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
		os.Exit(0) // whatever is still open is not worth an orderly end
	}()
	for line := range lines {
		command := benchCommand{Seconds: 1, Size: 32, Concurrency: 1, Count: 1, Connections: 1, Streams: 1}
		err := json.Unmarshal([]byte(line), &command)
		var ok any
		if err == nil {
			ok, err = b.run(context.Background(), command)
		}
		if err != nil {
			printJSON(map[string]any{"id": command.ID, "error": err.Error()})
		} else {
			printJSON(map[string]any{"id": command.ID, "ok": ok})
		}
	}
}

func (b *bencher) run(ctx context.Context, c benchCommand) (any, error) {
	switch c.Run {
	case "upload":
		return b.upload(ctx, c)
	case "download":
		return b.download(ctx, c)
	case "slow-reader":
		return b.slowReader(ctx, c)
	case "first-byte":
		// A new host each time: one that knows the listener dials all its addresses.
		h, err := b.newHost()
		if err != nil {
			return nil, err
		}
		defer h.Close()
		started := time.Now()
		conn, err := connect(ctx, h, c.Address)
		if err != nil {
			return nil, err
		}
		if err := echoOnce(ctx, conn, 1); err != nil {
			return nil, err
		}
		return detail{"seconds": time.Since(started).Seconds()}, nil
	case "connections":
		if err := b.have(c.Concurrency); err != nil {
			return nil, err
		}
		return repeat(c, func(worker int) error {
			conn, err := connect(ctx, b.hosts[worker], c.Address)
			if err != nil {
				return err
			}
			defer conn.Close()
			return echoOnce(ctx, conn, 1)
		})
	case "streams":
		conn, err := connect(ctx, b.hosts[0], c.Address)
		if err != nil {
			return nil, err
		}
		return repeat(c, func(int) error { return echoOnce(ctx, conn, c.Size) })
	case "ping":
		conn, err := connect(ctx, b.hosts[0], c.Address)
		if err != nil {
			return nil, err
		}
		s, err := openOn(ctx, conn, benchEcho)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		message := make([]byte, c.Size)
		c.Concurrency = 1
		return repeat(c, func(int) error { return exchange(s, message) })
	case "hold":
		for range c.Count {
			h, err := b.newHost()
			if err != nil {
				return nil, err
			}
			b.hosts = append(b.hosts, h)
			conn, err := connect(ctx, h, c.Address)
			if err != nil {
				return nil, err
			}
			if err := echoOnce(ctx, conn, 1); err != nil {
				return nil, err
			}
		}
		return detail{}, nil
	case "hold-streams":
		conn, err := connect(ctx, b.hosts[0], c.Address)
		if err != nil {
			return nil, err
		}
		for range c.Count {
			s, err := openOn(ctx, conn, benchEcho)
			if err != nil {
				return nil, err
			}
			if err := exchange(s, []byte{1}); err != nil {
				return nil, err
			}
			b.held = append(b.held, s)
		}
		return detail{}, nil
	case "memory":
		runtime.GC()
		debug.FreeOSMemory()
		return memoryOfProcess()
	}
	return nil, fmt.Errorf("no such command: %s", c.Run)
}

func (b *bencher) newHost() (host.Host, error) {
	return newHost(b.options, libp2p.NoListenAddrs)
}

func (b *bencher) have(count int) error {
	for len(b.hosts) < count {
		h, err := b.newHost()
		if err != nil {
			return err
		}
		b.hosts = append(b.hosts, h)
	}
	return nil
}

func connect(ctx context.Context, h host.Host, address string) (network.Conn, error) {
	info, err := peer.AddrInfoFromString(address)
	if err != nil {
		return nil, err
	}
	h.Peerstore().AddAddrs(info.ID, info.Addrs, time.Hour)
	// Not Host.Connect, which also waits for identify.
	return h.Network().DialPeer(ctx, info.ID)
}

// openOn opens a stream without waiting for the agreement on its protocol.
func openOn(ctx context.Context, conn network.Conn, id protocol.ID) (network.Stream, error) {
	s, err := conn.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.SetProtocol(id); err != nil {
		return nil, err
	}
	return lazily(s, id), nil
}

// lazyStream agrees on its protocol with its first data, as those of
// Host.NewStream do once identify has told the protocols of the remote.
type lazyStream struct {
	network.Stream
	lazy multistream.LazyConn
}

func lazily(s network.Stream, id protocol.ID) network.Stream {
	return &lazyStream{s, multistream.NewMSSelect(s, id)}
}

func (s *lazyStream) Read(b []byte) (int, error)  { return s.lazy.Read(b) }
func (s *lazyStream) Write(b []byte) (int, error) { return s.lazy.Write(b) }
func (s *lazyStream) Close() error                { return s.lazy.Close() }

func echoOnce(ctx context.Context, conn network.Conn, size int) error {
	s, err := openOn(ctx, conn, benchEcho)
	if err != nil {
		return err
	}
	if err := exchange(s, make([]byte, size)); err != nil {
		return err
	}
	return s.Close()
}

// repeat does it as often as the time allows, with so many at once.
func repeat(c benchCommand, once func(worker int) error) (any, error) {
	started := time.Now()
	var count atomic.Int64
	var failure atomic.Pointer[error]
	var all sync.WaitGroup
	for worker := range c.Concurrency {
		all.Go(func() {
			for time.Since(started) < c.duration() && failure.Load() == nil {
				if err := once(worker); err != nil {
					failure.Store(&err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	if err := failure.Load(); err != nil {
		return nil, *err
	}
	return detail{"count": count.Load(), "seconds": time.Since(started).Seconds()}, nil
}

func (b *bencher) upload(ctx context.Context, c benchCommand) (any, error) {
	if err := b.have(c.Connections); err != nil {
		return nil, err
	}
	var streams []network.Stream
	for _, h := range b.hosts[:c.Connections] {
		conn, err := connect(ctx, h, c.Address)
		if err != nil {
			return nil, err
		}
		for range c.Streams {
			s, err := openOn(ctx, conn, benchSink)
			if err != nil {
				return nil, err
			}
			streams = append(streams, s)
		}
	}
	started := time.Now()
	results := make(chan error, len(streams))
	var total atomic.Int64
	for _, s := range streams {
		go func() {
			sent, err := uploadOne(s, c, started)
			total.Add(sent)
			results <- err
		}()
	}
	for range streams {
		if err := <-results; err != nil {
			return nil, err
		}
	}
	return detail{"count": total.Load(), "seconds": time.Since(started).Seconds()}, nil
}

func uploadOne(s network.Stream, c benchCommand, started time.Time) (sent int64, err error) {
	chunk := make([]byte, c.Size)
	for time.Since(started) < c.duration() {
		if _, err := s.Write(chunk); err != nil {
			return sent, err
		}
		sent += int64(c.Size)
	}
	if err := s.CloseWrite(); err != nil {
		return sent, err
	}
	var received int64
	if err := binary.Read(s, binary.BigEndian, &received); err != nil {
		return sent, err
	}
	if received != sent {
		return sent, fmt.Errorf("sent %d bytes, the listener has %d", sent, received)
	}
	return sent, nil
}

func openSource(ctx context.Context, conn network.Conn, size int) (network.Stream, error) {
	s, err := openOn(ctx, conn, benchSource)
	if err != nil {
		return nil, err
	}
	return s, binary.Write(s, binary.BigEndian, uint32(size))
}

func (b *bencher) download(ctx context.Context, c benchCommand) (any, error) {
	conn, err := connect(ctx, b.hosts[0], c.Address)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	s, err := openSource(ctx, conn, c.Size)
	if err != nil {
		return nil, err
	}
	defer s.Reset()
	buffer := make([]byte, 64<<10)
	count := 0
	for time.Since(started) < c.duration() {
		n, err := s.Read(buffer)
		if err != nil {
			return nil, err
		}
		count += n
	}
	return detail{"count": count, "seconds": time.Since(started).Seconds()}, nil
}

func (b *bencher) slowReader(ctx context.Context, c benchCommand) (any, error) {
	conn, err := connect(ctx, b.hosts[0], c.Address)
	if err != nil {
		return nil, err
	}
	seven := func() (float64, error) {
		started := time.Now()
		var count atomic.Int64
		var streams []network.Stream
		for range 7 {
			s, err := openSource(ctx, conn, c.Size)
			if err != nil {
				return 0, err
			}
			streams = append(streams, s)
			go func() {
				buffer := make([]byte, 64<<10)
				for {
					n, err := s.Read(buffer)
					if err != nil {
						return
					}
					count.Add(int64(n))
				}
			}()
		}
		time.Sleep(c.duration())
		rate := float64(count.Load()) / time.Since(started).Seconds()
		for _, s := range streams {
			s.Reset()
		}
		return rate, nil
	}
	alone, err := seven()
	if err != nil {
		return nil, err
	}
	slow, err := openSource(ctx, conn, c.Size)
	if err != nil {
		return nil, err
	}
	defer slow.Reset()
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			if _, err := slow.Read(buffer); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	beside, err := seven()
	if err != nil {
		return nil, err
	}
	return detail{"alone": alone, "beside": beside}, nil
}

// memoryOfProcess is what is resident now, and was at the most.
func memoryOfProcess() (any, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	kilobytes := func(field string) int {
		lines := strings.Split(string(status), "\n")
		i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, field) })
		if i < 0 {
			return 0
		}
		var n int
		fmt.Sscanf(strings.TrimPrefix(lines[i], field), "%d", &n)
		return n
	}
	return detail{"bytes": kilobytes("VmRSS:") * 1024, "peak": kilobytes("VmHWM:") * 1024}, nil
}

func serveBench(h host.Host) {
	handle := func(id protocol.ID, handler func(network.Stream) error) {
		h.SetStreamHandler(id, func(s network.Stream) {
			if err := handler(s); err != nil {
				s.Reset()
				return
			}
			s.Close()
		})
	}
	handle(benchEcho, serveEcho)
	handle(benchSink, func(s network.Stream) error {
		n, err := io.Copy(io.Discard, s)
		if err != nil {
			return err
		}
		return binary.Write(s, binary.BigEndian, n)
	})
	handle(benchSource, func(s network.Stream) error {
		var size uint32
		if err := binary.Read(s, binary.BigEndian, &size); err != nil {
			return err
		}
		if size == 0 || size > 1<<20 {
			return errors.New("no such size")
		}
		block := make([]byte, size)
		for {
			if _, err := s.Write(block); err != nil {
				return err
			}
		}
	})
}
