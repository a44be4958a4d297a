//! Data that one side sends before it closes or resets the connection, and data behind
//! urgent data, arrives as without the agent.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::stage::{End, Stage, Way, end};
use crate::support::{PREVIEW4, Place, read_until, wait_until};

/// More bytes than all buffers on the way hold.
const MUCH: usize = 64 << 20;

/// Writes until the other side has closed the connection.
fn write_until_it_fails(mut stream: &TcpStream) {
    let piece = vec![b'x'; 64 * 1024];
    let failed = (0..MUCH / piece.len()).any(|_| stream.write_all(&piece).is_err());
    assert!(failed, "the buffers cannot hold all of it");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_early_refusal_of_an_upload_reaches_the_client_completely() {
    let stage = Stage::new();
    let requests: [&[u8]; 4] = [
        b"no http\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n20000000\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    ];
    let refusal: &[u8] =
        b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull";
    let goes_on: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nfull";
    for request in requests {
        for refusal in [refusal, goes_on] {
            for _ in 0..5 {
                let received = |way| {
                    let (mut client, mut app) = stage.connection(way);
                    client.write_all(request).unwrap();
                    let upload = client.try_clone().unwrap();
                    let upload = thread::spawn(move || write_until_it_fails(&upload));
                    app.read_exact(&mut vec![0; request.len() + 1_000_000]).unwrap();
                    app.write_all(refusal).unwrap();
                    // With so much unread data, closing is a reset.
                    drop(app);
                    upload.join().unwrap();
                    // The failed write has consumed the reset error: the next read is an end.
                    end(&mut client).0
                };
                let (with, without) = (received(Way::Captured), received(Way::Plain));
                assert!(without == refusal, "{} bytes without the agent", without.len());
                let text = String::from_utf8_lossy(request);
                assert!(with == without, "{text:?}: {} of {} bytes", with.len(), without.len());
            }
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn data_from_a_client_that_resets_during_a_download_reaches_the_application() {
    let stage = Stage::new();
    for _ in 0..20 {
        let received = |way| {
            let (mut client, mut app) = stage.connection(way);
            client.write_all(b"no http\r\n\r\n").unwrap();
            app.read_exact(&mut [0; 11]).unwrap();
            let download = app.try_clone().unwrap();
            let download = thread::spawn(move || write_until_it_fails(&download));
            client.read_exact(&mut vec![0; 1_000_000]).unwrap();
            client.write_all(&vec![b'z'; 10_000]).unwrap();
            drop(client);
            download.join().unwrap();
            end(&mut app).0.len()
        };
        assert_eq!((received(Way::Captured), received(Way::Plain)), (10_000, 10_000));
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_answer_on_a_second_connection_to_the_application_reaches_the_client() {
    let stage = Stage::new();
    let preview =
        crate::support::server::Server::http(stage.world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let keyed = b"GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n";
    // Ambiguous from its head on: a tunnel.
    let doubtful = b"GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
    let (mut client, mut app) = stage.connection(Way::Captured);
    client.write_all(keyed).unwrap();
    read_until(&mut client, b"preview / 0\n");
    app.shutdown(Shutdown::Write).unwrap();
    // The agent closes its side in turn.
    assert_eq!(app.read(&mut [0]).unwrap(), 0);
    client.write_all(doubtful).unwrap();
    let (mut again, _) = stage.accept(Way::Captured);
    again.read_exact(&mut vec![0; doubtful.len()]).unwrap();
    again.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nno").unwrap();
    drop(again);
    assert_eq!(end(&mut client), (b"HTTP/1.1 400 Bad Request\r\n\r\nno".to_vec(), End::Closed));
    assert_eq!(preview.accepted(), 1);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn bytes_behind_urgent_data_arrive_while_long_bodies_are_spliced() {
    const PIECE: usize = 5_000_000;
    let stage = Stage::new();
    for head in [&b"no http\r\n\r\n"[..], b"PUT / HTTP/1.1\r\nContent-Length: 15000000\r\n\r\n"] {
        let received = |way| {
            let (mut client, mut app) = stage.connection(way);
            client.write_all(head).unwrap();
            let reader = thread::spawn(move || {
                let mut seen = vec![0; head.len() + 3 * PIECE];
                app.read_exact(&mut seen).map(|()| seen).map_err(|error| error.kind())
            });
            for piece in 0..3 {
                client.write_all(&vec![b'a' + piece; PIECE]).unwrap();
                if piece < 2 {
                    let urgent = socket2::SockRef::from(&client);
                    wait_until("the urgent byte is sent", || urgent.send_out_of_band(b"!").is_ok());
                    // Also behind data that was read already.
                    thread::sleep(Duration::from_millis(50));
                }
            }
            reader.join().unwrap()
        };
        let (with, without) = (received(Way::Captured), received(Way::Plain));
        assert!(with == without, "{:?}", with.map(|seen| seen.len()));
        assert!(with.is_ok());
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_client_that_resets_during_the_connect_is_a_reset_for_the_application() {
    let stage = Stage::new();
    for round in 0..1_000 {
        let client = stage.world.connect(8080);
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        // At any moment of the connect.
        thread::sleep(Duration::from_micros(round % 100));
        drop(client);
        let (mut app, _) = stage.accept(Way::Captured);
        assert_eq!(end(&mut app), (Vec::new(), End::Reset), "round {round}");
    }
}
