package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const (
	perfProtocol      = protocol.ID("/perf/1.0.0")
	echoProtocol      = protocol.ID("/interop/echo/1.0.0")
	halfCloseProtocol = protocol.ID("/interop/half-close/1.0.0")
	resetProtocol     = protocol.ID("/interop/reset/1.0.0")
	handleProtocol    = protocol.ID("/interop/handle/1.0.0")
)

// serve adds the test protocols; ping and identify come with the host.
func serve(h host.Host) {
	handle := func(id protocol.ID, handler func(network.Stream) error) {
		h.SetStreamHandler(id, func(s network.Stream) {
			if err := handler(s); err != nil {
				log.Printf("%s: %v", id, err)
				s.Reset()
				return
			}
			s.Close()
		})
	}
	handle(perfProtocol, servePerf)
	handle(echoProtocol, serveEcho)
	handle(halfCloseProtocol, serveHalfClose)
	handle(handleProtocol, func(s network.Stream) error {
		name, err := io.ReadAll(io.LimitReader(s, 256))
		if err != nil {
			return err
		}
		handle(protocol.ID(name), serveEcho)
		return nil
	})
	h.SetStreamHandler(resetProtocol, func(s network.Stream) {
		s.Read(make([]byte, 1))
		s.Reset()
	})
}

// servePerf takes everything, then sends back as many bytes as asked for.
func servePerf(s network.Stream) error {
	var wanted uint64
	if err := binary.Read(s, binary.BigEndian, &wanted); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, s); err != nil {
		return err
	}
	return writeZeros(s, wanted)
}

func serveEcho(s network.Stream) error {
	_, err := io.Copy(s, s)
	return err
}

// serveHalfClose answers only after EOF, so the answer has to come over a
// stream that the remote has closed for writing.
func serveHalfClose(s network.Stream) error {
	hash := sha256.New()
	n, err := io.Copy(hash, s)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s, "%d %x", n, hash.Sum(nil))
	return err
}

func writeZeros(w io.Writer, n uint64) error {
	block := make([]byte, 64<<10)
	for n > 0 {
		part := block[:min(n, uint64(len(block)))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= uint64(len(part))
	}
	return nil
}
