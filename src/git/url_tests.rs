use super::*;

/// What a source was read as, on one line: the remote, then what was given.
fn read(text: &str) -> String {
    let url = match GitUrl::parse(text) {
        Ok(Some(url)) => url,
        Ok(None) => return "-".to_owned(),
        Err(error) => return format!("error: {error}"),
    };
    let mut line = url.remote.to_string();
    let fields = [
        ("ref", url.reference),
        ("checksum", url.checksum),
        ("subdir", url.subdir),
        ("git", url.keep_git_dir.map(|on| on.to_string())),
        ("modules", url.submodules.map(|on| on.to_string())),
        ("times", url.commit_times.then(|| "commit".to_owned())),
        ("by", url.fetch_by_commit.then(|| "commit".to_owned())),
        ("like", url.like_a_path.then(|| "path".to_owned())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            line.extend([" ", name, "=", &value]);
        }
    }
    line
}

#[test]
fn recognises_what_buildkit_does() {
    for (text, expected) in [
        ("https://example.com/", "-"),
        ("https://example.com/foo", "-"),
        ("https://example.com/foo.git/", "-"),
        ("https://example.com/foo.git.bar", "-"),
        ("https://example.com/foo.tar?x=.git", "-"),
        ("http://h/x.git:#branch", "-"),
        ("custom.xyz/moby/buildkit.git", "-"),
        ("./.git", "-"),
        ("../x.git", "-"),
        (".git", "-"),
        ("x.git", "-"),
        ("file:///srv/x.git", "-"),
        ("docker-image://alpine", "-"),
        ("httpx://h/x.git", "-"),
        ("h:x.git", "-"),
        ("helloworld.net", "-"),
        ("git@helloworld.net", "-"),
        ("git@helloworld.net/foo/bar.git", "-"),
        ("bad:user@helloworld.net:foo/bar.git", "-"),
        ("", "-"),
        ("https://h/foo.git", "https://h/foo.git"),
        ("HTTPS://h/foo.git", "https://h/foo.git"),
        ("https://h/foo.git#deadbeef", "https://h/foo.git ref=deadbeef"),
        ("https://h/foo.git#release/1.2", "https://h/foo.git ref=release/1.2"),
        ("https://u:p@h/foo.git", "https://h/foo.git"),
        ("https://h/foo.git#a/b:c/d", "https://h/foo.git ref=a/b subdir=c/d"),
        ("https://h/foo.git#:d", "https://h/foo.git subdir=d"),
        ("https://h/foo.git#:/", "https://h/foo.git"),
        ("https://h/foo.git#a%2Fb:c%20d", "https://h/foo.git ref=a/b subdir=c d"),
        ("git://example.com/foo", "git://example.com/foo"),
        ("git://host.xz:1234/a/b.git", "git://host.xz:1234/a/b.git"),
        ("github.com/moby/buildkit", "https://github.com/moby/buildkit like=path"),
        ("github.com/moby/buildkit#m", "https://github.com/moby/buildkit ref=m like=path"),
        (
            "github.com/moby/buildkit?tag=v1",
            "https://github.com/moby/buildkit ref=refs/tags/v1 like=path",
        ),
        ("git@github.com:moby/buildkit", "git@github.com:moby/buildkit"),
        ("git@h:m/b.git#v1:hack", "git@h:m/b.git ref=v1 subdir=hack"),
        ("git@h:m/b.git?subdir=/s#v1", "git@h:m/b.git ref=v1 subdir=s"),
        (
            "other_Funky-user52@h:/to/really:odd:repo.git/",
            "other_Funky-user52@h:/to/really:odd:repo.git/",
        ),
        ("ssh://git@h:22/m/b.git", "ssh://h:22/m/b.git"),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn reads_the_query_as_buildkit_does() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for (query, expected) in [
        ("?ref=v1.0.0&subdir=/s".to_owned(), " ref=v1.0.0 subdir=s".to_owned()),
        ("?subdir=/s#v1".into(), " ref=v1 subdir=s".into()),
        ("?ref=v1#v1".into(), " ref=v1".into()),
        ("?ref=a%2Fb+c".into(), " ref=a/b c".into()),
        ("?tag=v1".into(), " ref=refs/tags/v1".into()),
        ("?tag=refs/tags/v1".into(), " ref=refs/tags/v1".into()),
        ("?tag=v1#refs/tags/v1".into(), " ref=refs/tags/v1".into()),
        ("?branch=v1".into(), " ref=refs/heads/v1".into()),
        ("?checksum=ABC#v1".into(), " ref=v1 checksum=abc".into()),
        (format!("?commit={commit}"), format!(" ref={commit} checksum={commit}")),
        ("?keep-git-dir".into(), " git=true".into()),
        ("?keep-git-dir=0&submodules=F".into(), " git=false modules=false".into()),
        ("?mtime=commit".into(), " times=commit".into()),
        ("?mtime=checkout".into(), String::new()),
        (
            format!("?branch=b&commit={commit}&fetch-by-commit"),
            format!(" ref=refs/heads/b checksum={commit} by=commit"),
        ),
    ] {
        assert_eq!(read(&format!("https://h/x.git{query}")), format!("https://h/x.git{expected}"));
    }
    for (query, expected) in [
        ("?ref=v1#v2", "ref conflicts: \"v2\" vs \"v1\""),
        ("?ref=v1&tag=v2", "ref conflicts: \"v1\" vs \"refs/tags/v2\""),
        ("?tag=v1#v1", "ref conflicts: \"v1\" vs \"refs/tags/v1\""),
        ("?tag=v1&branch=v1", "branch conflicts with tag"),
        ("?subdir=a#:b", "subdir conflicts: \"b\" vs \"a\""),
        ("?ref=", "query \"ref\" has no value"),
        ("?ref=a&ref=a", "query \"ref\" has multiple values"),
        ("?submodules=yes", "invalid submodules value: \"yes\""),
        ("?keep-git-dir=2", "invalid keep-git-dir value: \"2\""),
        ("?mtime=now", "invalid mtime value: \"now\""),
        ("?subdir=a/../../b", "subdir \"a/../../b\" leads out of the repository"),
        ("?checksum=v1", "invalid checksum \"v1\", expected the hexadecimal digits of a commit"),
    ] {
        assert_eq!(read(&format!("https://h/x.git{query}")), format!("error: {expected}"));
    }
    let unknown = read("https://h/x.git?invalid=123");
    assert!(unknown.starts_with("error: unexpected query \"invalid\""), "{unknown}");
}

#[test]
fn add_takes_malformed_git_sources_for_git_sources_and_paths_for_paths() {
    for (text, expected) in [
        ("https://h/x.git", true),
        ("git@h:x", true),
        ("https://h/x.git?no", true),
        ("github.com/moby/buildkit", false),
        ("https://h/x.tar.gz", false),
        ("dir/file", false),
    ] {
        assert_eq!(is_git_source(text), expected, "{text}");
    }
}

#[test]
fn a_git_url_is_one_line_for_whoever_listens() {
    for text in [
        "git://h:25/a%0aHELO",
        "git://h/a%0D%0Ab.git",
        "git://h/a%00host=b",
        "git://h/%7f#ref",
        "git://h%01/a",
        "git://h%0a/a",
    ] {
        let read = read(text);
        assert!(read.starts_with("error: ") && read.contains("control characters"), "{read}");
        assert!(!read.contains(char::is_control), "{read:?}");
    }
    assert_eq!(read("git://h/a%20%c3%a9"), "git://h/a é");
}

#[test]
fn relative_urls_of_submodules() {
    for (base, relative, expected) in [
        ("https://u:p@h/a/b.git", "../c.git", Some("https://h/a/c.git")),
        ("https://h/a/b.git", "../../x/c", Some("https://h/x/c")),
        ("https://h/a/b.git", "./c", Some("https://h/a/b.git/c")),
        ("https://h/b.git", "../../c", None),
        ("git://h/a/b", "../c", Some("git://h/a/c")),
    ] {
        let base = Remote::parse(base).unwrap().unwrap();
        assert_eq!(base.join(relative).map(|r| r.to_string()).as_deref(), expected, "{relative}");
    }
    let base = Remote::parse("https://u:p@h/a/b.git").unwrap().unwrap();
    let Some(Remote::Http(url)) = base.join("../c") else {
        panic!("not a URL");
    };
    assert_eq!(url.as_str(), "https://u:p@h/a/c");
}

#[test]
fn what_is_kept_of_a_remote() {
    for (text, expected) in [
        ("https://user:secret@h/a.git", "https://h/a.git"),
        ("ssh://git@h:2222/a", "ssh://git@h:2222/a"),
        ("ssh://git:secret@h/a", "ssh://git@h/a"),
        ("ssh://h/a", "ssh://h/a"),
        ("git@h:a", "git@h:a"),
    ] {
        assert_eq!(Remote::parse(text).unwrap().unwrap().kept(), expected, "{text}");
    }
}
