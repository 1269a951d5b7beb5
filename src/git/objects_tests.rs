//! Servers that lie, or send what is damaged.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::super::pack::{Object, build};
use super::super::packet::Message;
use super::super::{GitOptions, Head};
use super::*;
use crate::git::id::ObjectFormat;
use crate::net::{Http, Options, Retry};
use crate::report::Sink;

const SHA1: ObjectFormat = ObjectFormat::Sha1;

struct Silent;

impl Sink for Silent {
    fn event(&self, _: Event) {}
}

/// A server of one connection: its greeting, then one answer for each message.
fn scripted(answers: Vec<Vec<u8>>) -> Remote {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut message = Message::default();
        message.line("version 2").line("ls-refs").line("fetch=shallow filter");
        // The first message asks for the service, and has no mark at its end.
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer);
        let _ = stream.write_all(&message.finish());
        for answer in answers {
            let mut heard = Vec::new();
            while !heard.ends_with(b"0000") {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => heard.extend_from_slice(&buffer[..count]),
                    _ => return,
                }
            }
            let _ = stream.write_all(&answer);
        }
    });
    Remote::Git { host: "127.0.0.1".to_owned(), port, path: "/x".to_owned() }
}

fn object(kind: Kind, content: &[u8]) -> Object {
    Object::new(SHA1, kind, content.to_vec()).unwrap()
}

fn tree(name: &str, of: &Object) -> Object {
    let mut bytes = format!("100644 {name}\0").into_bytes();
    bytes.extend_from_slice(of.id.as_bytes());
    object(Kind::Tree, &bytes)
}

fn commit(tree: &Object) -> Object {
    let who = "a <b> 1 +0000";
    let text = format!("tree {}\nauthor {who}\ncommitter {who}\n\nm\n", tree.id);
    object(Kind::Commit, text.as_bytes())
}

fn listed(commit: &Object) -> Vec<u8> {
    let mut message = Message::default();
    message.line(&format!("{} refs/heads/main", commit.id)).finish()
}

fn packed(pack: &[u8]) -> Vec<u8> {
    let mut message = Message::default();
    message.line("packfile").raw(&[&[1], pack].concat()).finish()
}

fn pack(objects: &[&Object]) -> Vec<u8> {
    packed(&build(SHA1, objects.iter().copied()).unwrap())
}

fn git() -> Git {
    let retry = Retry { attempts: 1, ..Retry::default() };
    let options = GitOptions { retry, ..GitOptions::default() };
    Git::new(Http::new(Options::default()), options, Arc::new(Silent))
}

async fn read(head: Result<Head<'_>, GitError>) -> Result<Vec<u8>, GitError> {
    let mut found = head?.read(&["f"]).await?;
    Ok(found.pop().flatten().map(|file| file.bytes.to_vec()).unwrap_or_default())
}

#[tokio::test]
async fn nothing_is_taken_for_what_it_is_not() {
    let (good, bad) = (object(Kind::Blob, b"good"), object(Kind::Blob, b"bad"));
    let root = tree("f", &good);
    let tip = commit(&root);
    let other = commit(&tree("f", &bad));
    let mut damaged = build(SHA1, [&tip, &root].into_iter()).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let cut = build(SHA1, [&tip, &root].into_iter()).unwrap();
    let first = pack(&[&tip, &root]);
    for (answers, expected) in [
        (vec![first.clone(), pack(&[&good])], "good"),
        // Another file, none at all, and one of the right name and another kind.
        (vec![first.clone(), pack(&[&bad])], "has not sent"),
        (vec![first.clone(), pack(&[])], "has not sent"),
        (vec![first, pack(&[&object(Kind::Tag, b"good")])], "has not sent"),
        (vec![pack(&[&other])], "has not sent"),
        (vec![packed(&damaged)], "checksum is wrong"),
        (vec![packed(&cut[..cut.len() - 7])], "checksum is wrong"),
        (vec![packed(b"")], "checksum is wrong"),
    ] {
        let remote = scripted([vec![listed(&tip)], answers].concat());
        let git = git();
        let found = read(git.open_branch(&remote, "main").await).await;
        let found = match found {
            Ok(bytes) => String::from_utf8(bytes).unwrap(),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{expected}: {found}");
    }
}
