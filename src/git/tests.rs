//! Packs made by hand: what is read from them, and what is refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::id::{Hasher, ObjectFormat, ObjectId};
use super::object::Kind;
use super::pack::{Pack, PackError, PackReader, PackWriter, with_checksum};
use crate::testing::TempDir;

const SHA1: ObjectFormat = ObjectFormat::Sha1;

/// An object of a pack: its kind's number, what stands between head and content, the content.
type Object = (u8, Vec<u8>, Vec<u8>);

fn head(kind: u8, mut size: usize) -> Vec<u8> {
    let mut bytes = vec![kind << 4 | (size & 15) as u8];
    size >>= 4;
    while size > 0 {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push((size & 0x7f) as u8);
        size >>= 7;
    }
    bytes
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A pack without its checksum.
fn body(count: u32, objects: &[Object]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(&count.to_be_bytes());
    for (kind, between, content) in objects {
        pack.extend_from_slice(&head(*kind, content.len()));
        pack.extend_from_slice(between);
        pack.extend_from_slice(&zlib(content));
    }
    pack
}

fn read(pack: &[u8]) -> Result<Pack, PackError> {
    let temp = TempDir::new("git-pack");
    let mut writer = PackWriter::create(temp.path(), SHA1)?;
    for piece in pack.chunks(7) {
        writer.write(piece)?;
    }
    writer.finish(&|| false)
}

fn sealed(body: Vec<u8>) -> Vec<u8> {
    with_checksum(body, SHA1).unwrap()
}

fn id(content: &[u8]) -> ObjectId {
    let mut hasher = Hasher::of_object(SHA1, "blob", content.len() as u64);
    hasher.update(content);
    hasher.finish().unwrap()
}

/// A delta that appends to its base, which is shorter than 64 KiB.
fn append(base: &[u8], more: &[u8]) -> Vec<u8> {
    let (low, high) = ((base.len() & 0x7f) as u8, (base.len() >> 7) as u8);
    let size = base.len() + more.len();
    let mut delta = vec![low | 0x80, high, (size & 0x7f) as u8 | 0x80, (size >> 7) as u8];
    delta.extend([0xb0, (base.len() & 0xff) as u8, (base.len() >> 8) as u8, more.len() as u8]);
    delta.extend(more);
    delta
}

#[test]
fn ids_are_gits() {
    assert_eq!(id(b"hello\n").to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
    let mut hasher = Hasher::of_object(ObjectFormat::Sha256, "blob", 6);
    hasher.update(b"hello\n");
    assert_eq!(
        hasher.finish().unwrap().to_string(),
        "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4",
    );
}

#[test]
fn reads_whole_objects_and_deltas_in_any_order() {
    let base: Vec<u8> = (0..300_u32).flat_map(u32::to_le_bytes).collect();
    let first = [base.as_slice(), b"first"].concat();
    let second = [first.as_slice(), b"second"].concat();
    // A delta by id comes before its base, and one by place after its own.
    let by_id = (7, id(&base).as_bytes().to_vec(), append(&base, b"first"));
    let distance = body(1, std::slice::from_ref(&by_id)).len() - 12;
    let by_place = (6, vec![distance as u8], append(&first, b"second"));
    assert!(distance < 0x80, "one byte says how far it is");
    let objects = [by_id, by_place, (3, vec![], base.clone()), (3, vec![], vec![])];
    let pack = read(&sealed(body(4, &objects))).unwrap();
    let mut reader = PackReader::new(&pack);
    for content in [base, first, second, vec![]] {
        let found = reader.read(&id(&content), Kind::Blob).unwrap();
        assert_eq!(*found, content);
        let mut copied = Vec::new();
        reader.copy(&id(&content), &mut |piece| copied.write_all(piece)).unwrap();
        assert_eq!(copied, content);
    }
    assert!(reader.read(&id(b"hello\n"), Kind::Blob).is_err(), "it is not there");
    assert!(reader.read(&id(b""), Kind::Tree).is_err(), "it is a file");
}

#[test]
fn damaged_packs_are_refused() {
    let blob = |content: &[u8]| (3, vec![], content.to_vec());
    let good = || body(1, &[blob(b"content")]);
    let mut wrong_size = good();
    wrong_size[12] -= 1;
    let mut larger = good();
    larger[12] += 1;
    let delta = |kind, between| vec![blob(b"base"), (kind, between, append(b"base", b"x"))];
    for (pack, problem) in [
        (good(), "the pack's checksum is wrong"),
        (sealed(good())[..30].to_vec(), "the pack's checksum is wrong"),
        (vec![], "the pack's checksum is wrong"),
        (sealed(vec![]), "this is not a pack"),
        (sealed(b"PACK\0\0\0\x09\0\0\0\0".to_vec()), "this is not a pack"),
        (sealed(body(2, &[blob(b"content")])), "fewer objects"),
        (sealed(body(0, &[blob(b"content")])), "more objects"),
        (sealed(wrong_size), "another size"),
        (sealed(larger), "another size"),
        (sealed(body(1, &[(5, vec![], vec![])])), "unknown kind"),
        (sealed(body(1, &[(0, vec![], vec![])])), "unknown kind"),
        (sealed(body(2, &[blob(b"a"), blob(b"a")])), "twice"),
        (sealed(body(2, &delta(6, vec![0]))), "no base before it"),
        (sealed(body(2, &delta(6, vec![0x7f]))), "no base before it"),
        (sealed(body(2, &delta(6, vec![1]))), "the bases of 1 deltas are missing"),
        (sealed(body(2, &delta(7, vec![7; 20]))), "the bases of 1 deltas are missing"),
        (
            sealed(body(
                2,
                &[blob(b"bas"), (7, id(b"bas").as_bytes().to_vec(), append(b"base", b"x"))],
            )),
            "does not fit",
        ),
    ] {
        match read(&pack) {
            Err(PackError::Damaged(found)) => {
                assert!(found.contains(problem), "{problem}: {found}");
            }
            other => panic!("{problem}: {other:?}"),
        }
    }
}

/// A number as a delta names sizes.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn a_delta_does_not_make_more_than_the_memory_may_hold() {
    const LIMIT: u64 = 1 << 30;
    let base = vec![0; 1 << 16];
    let refused = |result: u64| {
        // Each instruction copies the 64 KiB of the base; they make less than the delta says.
        let delta = [number(base.len() as u64), number(result), vec![0x80; 4]].concat();
        let by_id = (7, id(&base).as_bytes().to_vec(), delta);
        match read(&sealed(body(2, &[(3, vec![], base.clone()), by_id]))) {
            Err(PackError::Damaged(problem)) => problem,
            other => panic!("{result}: {other:?}"),
        }
    };
    let room = LIMIT - base.len() as u64;
    for result in [room + 1, LIMIT, 4 << 30, 1 << 60] {
        let problem = refused(result);
        assert!(problem.contains("1 GiB") && problem.contains(&result.to_string()), "{problem}");
    }
    assert!(refused(room).contains("does not fit"), "it is the limit");
}

#[test]
fn a_long_chain_of_deltas_is_read_from_its_end() {
    let mut content = b"base".to_vec();
    let mut objects: Vec<Object> = vec![(3, vec![], content.clone())];
    for step in 0..200_u8 {
        let delta = append(&content, &[step]);
        objects.push((7, id(&content).as_bytes().to_vec(), delta));
        content.push(step);
    }
    let pack = read(&sealed(body(201, &objects))).unwrap();
    let found = PackReader::new(&pack).read(&id(&content), Kind::Blob).unwrap();
    assert_eq!(*found, content);
}

/// With a checksum that fits, so that only the objects' own ids protect them.
#[test]
fn whatever_is_changed_in_a_pack_an_id_gives_its_content_or_nothing() {
    let base: Vec<u8> = (0..100).collect();
    let more = [base.as_slice(), b"more"].concat();
    let delta = append(&base, b"more");
    let objects = [(7, id(&base).as_bytes().to_vec(), delta), (3, vec![], base.clone())];
    let body = body(2, &objects);
    let mut refused = 0;
    for at in 0..body.len() {
        for bit in 0..8 {
            let mut changed = body.clone();
            changed[at] ^= 1 << bit;
            let Ok(pack) = read(&sealed(changed)) else {
                refused += 1;
                continue;
            };
            let mut reader = PackReader::new(&pack);
            for content in [&base, &more] {
                if let Ok(found) = reader.read(&id(content), Kind::Blob) {
                    assert_eq!(*found, *content, "byte {at}, bit {bit}");
                }
            }
        }
    }
    // What is left are the bits of zlib that mean nothing.
    assert!(refused > body.len() * 8 - 50, "{refused} refused");
}

#[test]
fn reading_stops_when_it_is_told_to() {
    let temp = TempDir::new("git-stop");
    let mut writer = PackWriter::create(temp.path(), SHA1).unwrap();
    writer.write(&sealed(body(1, &[(3, vec![], b"x".to_vec())]))).unwrap();
    assert!(matches!(writer.finish(&|| true), Err(PackError::Stopped)));
}
