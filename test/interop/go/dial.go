package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/libp2p/go-msgio/pbio"
	"google.golang.org/protobuf/proto"
)

const (
	testTimeout    = 60 * time.Second
	pushedProtocol = protocol.ID("/interop/pushed/1.0.0")
)

type detail map[string]any

// remote is the peer under test.
type remote struct {
	host       host.Host
	conn       network.Conn
	identified event.Subscription
	options    options
}

var tests = map[string]func(context.Context, *remote) (detail, error){
	"ping":          testPing,
	"identify":      testIdentify,
	"perf-upload":   testPerfUpload,
	"perf-download": testPerfDownload,
	"streams":       testStreams,
	"half-close":    testHalfClose,
	"reset-remote":  testResetRemote,
	"reset-local":   testResetLocal,
	"early-muxer":   testEarlyMuxer,
	"identify-push": testIdentifyPush,
}

func dial(o options) {
	test, known := tests[o.test]
	if !known {
		fatal(fmt.Sprintf("unknown test %q", o.test))
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()

	type outcome struct {
		detail detail
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		d, err := connectAndRun(ctx, o, test)
		done <- outcome{d, err}
	}()
	var result outcome
	select {
	case result = <-done:
	case <-ctx.Done():
		result.err = fmt.Errorf("timed out after %s", testTimeout)
	}

	line := map[string]any{"event": "result", "test": o.test, "ok": result.err == nil, "detail": result.detail}
	if result.err != nil {
		line["detail"] = detail{}
		line["error"] = result.err.Error()
	}
	printJSON(line)
	if result.err != nil {
		os.Exit(1)
	}
}

func connectAndRun(ctx context.Context, o options, test func(context.Context, *remote) (detail, error)) (detail, error) {
	info, err := peer.AddrInfoFromString(o.addr)
	if err != nil {
		return nil, err
	}
	h, err := newHost(o, libp2p.NoListenAddrs)
	if err != nil {
		return nil, err
	}
	defer h.Close()

	// Identify starts by itself with the connection, so listen for it first.
	identified, err := h.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerIdentificationFailed),
	}, eventbus.BufSize(16))
	if err != nil {
		return nil, err
	}
	if err := h.Connect(ctx, *info); err != nil {
		return nil, err
	}
	conns := h.Network().ConnsToPeer(info.ID)
	if len(conns) != 1 {
		return nil, fmt.Errorf("%d connections after the dial", len(conns))
	}
	d, err := test(ctx, &remote{h, conns[0], identified, o})
	if err == nil && conns[0].IsClosed() {
		err = errors.New("the connection broke during the test")
	}
	return d, err
}

// open gives a stream on which nothing can block past the test's deadline.
func (r *remote) open(ctx context.Context, id protocol.ID) (network.Stream, error) {
	s, err := r.host.NewStream(ctx, r.conn.RemotePeer(), id)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	return s, s.SetDeadline(deadline)
}

// testIdentifyPush has the remote handle one more protocol, and waits until it says so.
func testIdentifyPush(ctx context.Context, r *remote) (detail, error) {
	if _, err := testIdentify(ctx, r); err != nil {
		return nil, err
	}
	s, err := r.open(ctx, handleProtocol)
	if err != nil {
		return nil, err
	}
	if _, err := s.Write([]byte(pushedProtocol)); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	for {
		known, err := r.host.Peerstore().SupportsProtocols(r.conn.RemotePeer(), pushedProtocol)
		if err != nil {
			return nil, err
		}
		if len(known) > 0 {
			return detail{"pushed": pushedProtocol}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func testPing(ctx context.Context, r *remote) (detail, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := ping.Ping(ctx, r.host, r.conn.RemotePeer())
	var rtts []float64
	for range 5 {
		result := <-results
		if result.Error != nil {
			return nil, result.Error
		}
		rtts = append(rtts, float64(result.RTT.Microseconds())/1000)
	}
	return detail{"rttsMs": rtts}, nil
}

func testIdentify(ctx context.Context, r *remote) (detail, error) {
	var found event.EvtPeerIdentificationCompleted
	select {
	case e := <-r.identified.Out():
		switch e := e.(type) {
		case event.EvtPeerIdentificationFailed:
			return nil, e.Reason
		case event.EvtPeerIdentificationCompleted:
			found = e
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if found.Peer != r.conn.RemotePeer() || len(found.Protocols) == 0 {
		return nil, fmt.Errorf("identified %s with %d protocols", found.Peer, len(found.Protocols))
	}
	matches, err := identifiedKeyMatches(ctx, r)
	if err != nil {
		return nil, err
	}
	if !matches {
		return nil, errors.New("the public key in identify is not that of the peer id")
	}
	addrs := []string{}
	for _, a := range found.ListenAddrs {
		addrs = append(addrs, a.String())
	}
	observed := ""
	if found.ObservedAddr != nil {
		observed = found.ObservedAddr.String()
	}
	return detail{
		"agentVersion":     found.AgentVersion,
		"protocolVersion":  found.ProtocolVersion,
		"protocols":        found.Protocols,
		"listenAddrs":      addrs,
		"observedAddr":     observed,
		"publicKeyMatches": matches,
	}, nil
}

// identifiedKeyMatches asks again for the identify message itself: the host
// does not say what key it held. Large answers come in several messages.
func identifiedKeyMatches(ctx context.Context, r *remote) (bool, error) {
	s, err := r.open(ctx, identify.ID)
	if err != nil {
		return false, err
	}
	defer s.Close()
	reader := pbio.NewDelimitedReader(s, 64<<10)
	var all pb.Identify
	for {
		var part pb.Identify
		if err := reader.ReadMsg(&part); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return false, err
		}
		proto.Merge(&all, &part)
	}
	key, err := crypto.UnmarshalPublicKey(all.PublicKey)
	if err != nil {
		return false, err
	}
	return r.conn.RemotePeer().MatchesPublicKey(key), nil
}

func testPerfUpload(ctx context.Context, r *remote) (detail, error) {
	return perf(ctx, r, r.options.bytes, 0)
}

func testPerfDownload(ctx context.Context, r *remote) (detail, error) {
	return perf(ctx, r, 0, r.options.bytes)
}

func perf(ctx context.Context, r *remote, send, receive uint64) (detail, error) {
	start := time.Now()
	s, err := r.open(ctx, perfProtocol)
	if err != nil {
		return nil, err
	}
	if err := binary.Write(s, binary.BigEndian, receive); err != nil {
		return nil, err
	}
	if err := writeZeros(s, send); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	received, err := io.Copy(io.Discard, s)
	if err != nil {
		return nil, err
	}
	if uint64(received) != receive {
		return nil, fmt.Errorf("received %d bytes instead of %d", received, receive)
	}
	return detail{"bytes": send + receive, "seconds": time.Since(start).Seconds()}, nil
}

// testStreams holds all streams open at once. Each writes as soon as it is
// open: a stack may acknowledge a stream only when it answers on it, and
// the unacknowledged ones are limited.
func testStreams(ctx context.Context, r *remote) (detail, error) {
	var open, done sync.WaitGroup
	failures := make(chan error, 2*r.options.count)
	for i := range r.options.count {
		open.Add(1)
		done.Go(func() {
			message := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
			s, err := r.open(ctx, echoProtocol)
			if err == nil {
				err = exchange(s, message[:])
			}
			open.Done()
			if err != nil {
				failures <- fmt.Errorf("stream %d: %w", i, err)
				return
			}
			open.Wait()
			if err := closeAndExpectEOF(s); err != nil {
				failures <- fmt.Errorf("stream %d: %w", i, err)
			}
		})
	}
	done.Wait()
	if len(failures) > 0 {
		return nil, fmt.Errorf("%d streams failed, the first: %w", len(failures), <-failures)
	}
	return detail{"streams": r.options.count}, nil
}

func exchange(s network.Stream, message []byte) error {
	if _, err := s.Write(message); err != nil {
		return err
	}
	echo := make([]byte, len(message))
	if _, err := io.ReadFull(s, echo); err != nil {
		return err
	}
	if !bytes.Equal(echo, message) {
		return errors.New("the echo differs")
	}
	return nil
}

func closeAndExpectEOF(s network.Stream) error {
	if err := s.CloseWrite(); err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, s); err != nil || n > 0 {
		return fmt.Errorf("%d bytes after the echo, then: %v", n, err)
	}
	return nil
}

func testHalfClose(ctx context.Context, r *remote) (detail, error) {
	s, err := r.open(ctx, halfCloseProtocol)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * 31 >> 3)
	}
	if _, err := s.Write(data); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(s)
	if err != nil {
		return nil, err
	}
	if expected := fmt.Sprintf("%d %x", len(data), sha256.Sum256(data)); string(answer) != expected {
		return nil, fmt.Errorf("answered %q instead of %q", answer, expected)
	}
	return detail{"answer": string(answer)}, nil
}

func testResetRemote(ctx context.Context, r *remote) (detail, error) {
	s, err := r.open(ctx, resetProtocol)
	if err != nil {
		return nil, err
	}
	if _, err := s.Write([]byte{1}); err != nil {
		return nil, err
	}
	_, err = s.Read(make([]byte, 1))
	if !errors.Is(err, network.ErrReset) {
		return nil, fmt.Errorf("expected a reset, the read gave: %v", err)
	}
	return detail{"readError": err.Error()}, nil
}

func testResetLocal(ctx context.Context, r *remote) (detail, error) {
	for i := range 2 {
		s, err := r.open(ctx, echoProtocol)
		if err != nil {
			return nil, err
		}
		if err := exchange(s, []byte{byte(i)}); err != nil {
			return nil, err
		}
		if i == 0 {
			s.Reset()
		} else if err := closeAndExpectEOF(s); err != nil {
			return nil, err
		}
	}
	return detail{}, nil
}

func testEarlyMuxer(_ context.Context, r *remote) (detail, error) {
	return detail{"earlyMuxer": r.conn.ConnState().UsedEarlyMuxerNegotiation}, nil
}
