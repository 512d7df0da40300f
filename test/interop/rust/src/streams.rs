//! A behaviour that opens and accepts raw streams.
//!
//! libp2p-stream does the same, but drops inbound streams that arrive faster
//! than they are accepted and negotiates one outbound stream at a time, which
//! is what the suite must not do: it opens thousands at once.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    io,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
};
use libp2p::{
    InboundUpgrade, Multiaddr, OutboundUpgrade, PeerId, Stream, StreamProtocol,
    core::{Endpoint, UpgradeInfo, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};

use crate::serve::ASKED_FOR;

const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(60);

type Opened = oneshot::Sender<io::Result<Stream>>;
type Serve = fn(&str, Stream);

#[derive(Debug)]
pub struct Open {
    peer: PeerId,
    protocol: StreamProtocol,
    opened: Opened,
}

/// Opens streams from outside the swarm.
#[derive(Clone)]
pub struct Control {
    requests: mpsc::UnboundedSender<Open>,
}

impl Control {
    pub async fn open(&self, peer: PeerId, protocol: &'static str) -> io::Result<Stream> {
        let (opened, stream) = oneshot::channel();
        let protocol = StreamProtocol::new(protocol);
        self.requests
            .unbounded_send(Open {
                peer,
                protocol,
                opened,
            })
            .map_err(io::Error::other)?;
        stream.await.map_err(io::Error::other)?
    }
}

pub struct Behaviour {
    protocols: Vec<StreamProtocol>,
    serve: Serve,
    requests: mpsc::UnboundedReceiver<Open>,
}

impl Behaviour {
    /// Each inbound stream of one of the `protocols` goes to `serve`.
    pub fn new(protocols: &[&'static str], serve: Serve) -> (Self, Control) {
        let protocols = protocols.iter().map(|p| StreamProtocol::new(p)).collect();
        let (sender, requests) = mpsc::unbounded();
        (
            Self {
                protocols,
                serve,
                requests,
            },
            Control { requests: sender },
        )
    }

    fn handler(&self) -> Handler {
        Handler {
            protocols: self.protocols.clone(),
            serve: self.serve,
            requests: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.requests.poll_next_unpin(cx) {
            Poll::Ready(Some(open)) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id: open.peer,
                handler: NotifyHandler::Any,
                event: open,
            }),
            _ => Poll::Pending,
        }
    }
}

pub struct Handler {
    protocols: Vec<StreamProtocol>,
    serve: Serve,
    requests: VecDeque<Open>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Raw;
    type OutboundProtocol = Raw;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<Raw> {
        let asked_for = ASKED_FOR.lock().map(|asked| asked.clone()).unwrap_or_default();
        let protocols = self.protocols.iter().cloned().chain(asked_for).collect();
        SubstreamProtocol::new(Raw(protocols), ()).with_timeout(NEGOTIATION_TIMEOUT)
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.requests.push_back(open);
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Raw, Opened, Infallible>> {
        match self.requests.pop_front() {
            Some(open) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Raw(vec![open.protocol]), open.opened)
                    .with_timeout(NEGOTIATION_TIMEOUT),
            }),
            None => Poll::Pending,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Raw, Raw, (), Opened>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => (self.serve)(protocol.as_ref(), stream),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: opened,
            }) => drop(opened.send(Ok(stream))),
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                error,
                info: opened,
            }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => io::ErrorKind::TimedOut.into(),
                    StreamUpgradeError::NegotiationFailed => {
                        io::Error::other("unsupported protocol")
                    }
                    StreamUpgradeError::Io(error) => error,
                };
                drop(opened.send(Err(error)));
            }
            _ => {}
        }
    }
}

/// The upgrade that leaves the stream as it is.
pub struct Raw(Vec<StreamProtocol>);

impl UpgradeInfo for Raw {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Raw {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Raw {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
