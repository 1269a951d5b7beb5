use std::net::TcpListener;

use super::*;

fn transport() -> Transport {
    Transport::new(Http::new(net::Options::default()), GitOptions::default())
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
