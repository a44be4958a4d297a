//! `WebSocket`s through the agent, to the application and to the preview, with a
//! library of others on both ends.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{accept_async, client_async};

use crate::http2::runtime;
use crate::support::agent::Agent;
use crate::support::{PREVIEW4, Place, World};

/// Echoes every message, with `name` before each text.
fn echo(runtime: &tokio::runtime::Runtime, listener: std::net::TcpListener, name: &'static str) {
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.unwrap();
                socket.send(Message::text(format!("hello from {name}"))).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    let answer = match message {
                        Message::Text(text) => Message::text(format!("{name}: {text}")),
                        Message::Binary(bytes) => Message::Binary(bytes),
                        // The library answers pings and closings itself.
                        _ => continue,
                    };
                    socket.send(answer).await.unwrap();
                }
            });
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn websocket_messages_pings_and_closings_reach_the_application_and_the_preview() {
    let (world, runtime) = (World::new(), runtime());
    echo(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    echo(&runtime, world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::stealing(&world, &[8080]);
    for (key, name) in [("pr-2", "app"), ("pr-1", "preview"), ("pr-12", "app")] {
        let stream = world.connect(8080);
        stream.set_nonblocking(true).unwrap();
        let exchange = async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let mut request = "ws://shop/chat".into_client_request().unwrap();
            request.headers_mut().insert("baggage", format!("mirrord-session={key}").parse().unwrap());
            let (mut socket, response) = client_async(request, stream).await.unwrap();
            assert_eq!(response.status(), 101);
            let hear = async |socket: &mut tokio_tungstenite::WebSocketStream<_>| {
                socket.next().await.unwrap().unwrap()
            };
            assert_eq!(hear(&mut socket).await, Message::text(format!("hello from {name}")));
            for number in 0..50 {
                socket.send(Message::text(format!("{number}"))).await.unwrap();
                assert_eq!(hear(&mut socket).await, Message::text(format!("{name}: {number}")));
            }
            let large = Bytes::from(vec![7; 5_000_000]);
            socket.send(Message::Binary(large.clone())).await.unwrap();
            assert_eq!(hear(&mut socket).await, Message::Binary(large));
            socket.send(Message::Ping(Bytes::from("are you there?"))).await.unwrap();
            assert_eq!(hear(&mut socket).await, Message::Pong(Bytes::from("are you there?")));
            let frame = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
            socket.close(Some(frame.clone())).await.unwrap();
            assert_eq!(hear(&mut socket).await, Message::Close(Some(frame)));
            assert!(socket.next().await.is_none(), "and then the connection ends");
        };
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), exchange).await.unwrap() });
    }
    let counts = agent.counts("s1");
    assert_eq!((&counts["matched"], &counts["passed"]), (&1.into(), &2.into()), "{counts}");
}
