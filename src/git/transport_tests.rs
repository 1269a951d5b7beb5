use std::io::{BufWriter, Write};
use std::net::TcpListener;

use super::super::protocol;
use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

fn transport() -> Transport {
    struct Silent;
    impl Sink for Silent {
        fn event(&self, _: crate::report::Event) {}
    }
    Transport::new(Http::new(net::Options::default()), GitOptions::default(), Arc::new(Silent))
}

#[tokio::test]
async fn nothing_is_sent_where_a_line_end_would_speak_to_another_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (host, path) in [
        ("127.0.0.1", "/a\nHELO"),
        ("127.0.0.1", "/a\r"),
        ("127.0.0.1", "/a\0host=b"),
        ("127.0.0.1\n", "/a"),
    ] {
        let remote = Remote::Git { host: host.to_owned(), port, path: path.to_owned() };
        let refused = transport().server(&remote, None).await.unwrap_err().to_string();
        assert!(refused.contains("control characters"), "{refused}");
    }
    listener.set_nonblocking(true).unwrap();
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "nobody has connected");
}

/// A server that says the same on every connection: capabilities, then one line again and again.
fn repeating(capabilities: usize, line: String, lines: usize) -> Remote {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut message = Message::default();
        message.line("version 2");
        for _ in 0..capabilities {
            message.line("fetch=shallow");
        }
        let greeting = message.finish();
        let line = message.line(&line).unfinished();
        for stream in listener.incoming() {
            // The client goes when it has heard enough; the next connection is served then.
            let mut stream = BufWriter::new(stream.unwrap());
            let _ = stream
                .write_all(&greeting)
                .and_then(|()| (0..lines).try_for_each(|_| stream.write_all(&line)))
                .and_then(|()| stream.write_all(b"0000"))
                .and_then(|()| stream.flush())
                .and_then(|()| std::io::copy(stream.get_mut(), &mut std::io::sink()));
        }
    });
    Remote::Git { host: "127.0.0.1".to_owned(), port, path: "/x".to_owned() }
}

#[tokio::test]
async fn no_list_of_a_server_fills_the_memory() {
    let transport = transport();
    let refused = |error: GitError, what: &str| {
        let error = error.to_string();
        assert!(error.contains(&format!("too many {what}")), "{error}");
    };
    assert!(transport.server(&repeating(1000, String::new(), 0), None).await.is_ok());
    let many = transport.server(&repeating(1001, String::new(), 0), None).await;
    refused(many.unwrap_err(), "capabilities");

    let list = async |name: &str, lines| {
        let server = repeating(1, format!("{ID} refs/heads/{name}"), lines);
        let server = transport.server(&server, None).await.unwrap();
        protocol::ls_refs(&transport, &server, &[]).await
    };
    assert_eq!(list("few", 1000).await.unwrap().all.len(), 1000);
    refused(list(&"x".repeat(65_000), 2100).await.unwrap_err(), "references");

    let server = repeating(1, format!("shallow {ID}"), 100_001);
    let server = transport.server(&server, None).await.unwrap();
    let request = protocol::FetchRequest::default();
    let answer = protocol::fetch(&transport, &server, &request).await.unwrap();
    let received = protocol::receive(&server, answer, |_| Ok(())).await;
    refused(received.unwrap_err(), "commits without parents");
}
