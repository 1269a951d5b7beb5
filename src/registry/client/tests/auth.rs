//! Who asks, and who is told.

use super::*;

/// A registry that wants tokens of its own `/token`, which gives them to whom
/// `allow` does. Only the last token counts.
struct Guard {
    host: Arc<Mutex<String>>,
    allow: fn(&Heard) -> bool,
    issued: u32,
    /// How many requests a token lets in.
    lasts: u32,
    /// How many the last one still lets in.
    left: u32,
}

impl Guard {
    fn fate(&mut self, heard: &Heard) -> Fate {
        if heard.target.starts_with("/token") {
            if !(self.allow)(heard) {
                let text = r#"{"details":"incorrect username or password"}"#;
                return Fate::Answer(Answer::new(401).body(text));
            }
            self.issued += 1;
            self.left = self.lasts;
            let text = format!(r#"{{"token":"T{}","expires_in":300}}"#, self.issued);
            return Fate::Answer(Answer::new(200).body(text));
        }
        let current = format!("Bearer T{}", self.issued);
        if self.left > 0 && heard.header("authorization") == Some(&current) {
            self.left -= 1;
            return Fate::Pass;
        }
        let host = self.host.lock().unwrap().clone();
        let challenge = format!(
            r#"Bearer realm="http://{host}/token",service="s, t",scope="repository:a:pull""#
        );
        Fate::Answer(Answer::new(401).with("WWW-Authenticate", challenge))
    }
}

fn guarded(credential: Option<Credential>, lasts: u32, allow: fn(&Heard) -> bool) -> World {
    let host = Arc::new(Mutex::new(String::new()));
    let mut guard = Guard { host: Arc::clone(&host), allow, issued: 0, lasts, left: 0 };
    let mut world = world(move |heard| guard.fate(heard));
    *host.lock().unwrap() = world.server.host();
    if let Some(credential) = credential {
        world.log_in(credential);
    }
    world
}

fn user() -> Credential {
    Credential::Basic { username: "u".into(), password: "p:w".into() }
}

/// Base64 of `u:p:w`.
const USER: &str = "Basic dTpwOnc=";

fn is_user(heard: &Heard) -> bool {
    heard.header("authorization") == Some(USER)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_shared() {
    let world = guarded(Some(user()), u32::MAX, is_user);
    let (one, two) = (blob(1000), blob(2000));
    let (a, b) = tokio::join!(world.pull(&one), world.pull(&two));
    a.expect("one");
    b.expect("two");
    world.pull(&blob(3000)).await.expect("three");
    assert_eq!(world.count("GET", "/token"), 1);
    let requests = world.server.requests();
    let token = requests.iter().find(|r| r.contains("/token")).expect("a token");
    assert_eq!(token, "GET /token?service=s%2C+t&scope=repository%3Aa%3Apull");
    assert_eq!(world.count("GET", "/blobs/"), 3 + 2, "only the first two were challenged");
}

#[tokio::test]
async fn an_expired_token_is_replaced() {
    // HEAD and POST pass, the PUT does not.
    let world = guarded(Some(user()), 2, is_user);
    let pushed = world.push(&blob(300_000), None).await;
    assert!(matches!(pushed, Ok(Pushed::Uploaded)), "{pushed:?}");
    assert_eq!(world.count("GET", "/token"), 2);
    assert!(world.server.requests()[1].contains("scope=repository%3Aa%3Apull%2Cpush"));
}

#[tokio::test]
async fn a_token_that_is_never_taken_is_an_error() {
    let world = guarded(Some(user()), 0, is_user);
    let error = world.pull(b"x").await.expect_err("must fail");
    assert_eq!(error.kind(), Kind::Auth);
    assert_eq!(world.count("GET", "/token"), 1);
    assert!(error.to_string().contains("docker login"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_says_so() {
    let wrong = Credential::Basic { username: "u".into(), password: "secret".into() };
    let world = guarded(Some(wrong), u32::MAX, is_user);
    let error = world.pull(b"x").await.expect_err("must fail");
    assert_eq!(error.kind(), Kind::Auth);
    let text = error.to_string();
    assert!(text.contains("incorrect username or password"), "{text}");
    assert!(text.contains("docker login") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let world = guarded(Some(Credential::IdentityToken("id".into())), u32::MAX, |heard| {
        // The form is read after the head, so the log shows it.
        heard.method == "POST" && heard.header("authorization").is_none()
    });
    world.pull(b"x").await.expect("the blob");
    let log = world.server.shelf().log.clone();
    let form = &log.iter().find(|h| h.is("POST", "/token")).expect("a token").body;
    let form = String::from_utf8_lossy(form);
    assert!(
        form.contains("grant_type=refresh_token&") && form.ends_with("&refresh_token=id"),
        "{form}"
    );
}

#[tokio::test]
async fn an_identity_token_that_is_too_old_is_an_error_that_says_so() {
    let host = Arc::new(Mutex::new(String::new()));
    let realm = Arc::clone(&host);
    let mut world = world(move |heard| {
        let realm = realm.lock().unwrap().clone();
        let challenge = format!(r#"Bearer realm="http://{realm}/token""#);
        Fate::Answer(if heard.is("POST", "/token") {
            Answer::new(400).body(r#"{"error":"invalid_grant"}"#)
        } else {
            Answer::new(401).with("WWW-Authenticate", challenge)
        })
    });
    *host.lock().unwrap() = world.server.host();
    world.log_in(Credential::IdentityToken("old".into()));
    let error = world.pull(b"x").await.expect_err("must fail");
    assert_eq!(error.kind(), Kind::Auth);
    assert!(error.to_string().contains("invalid_grant; log in again"), "{error}");
}

#[tokio::test]
async fn nobody_gets_a_token_too() {
    let world = guarded(None, u32::MAX, |heard| heard.header("authorization").is_none());
    world.pull(b"x").await.expect("the blob");
}

#[tokio::test]
async fn basic_is_shown_when_it_is_asked_for() {
    let allowed = |heard: &Heard| {
        if is_user(heard) {
            Fate::Pass
        } else {
            let wants = r#"Negotiate, Basic realm="a, b""#;
            Fate::Answer(Answer::new(401).with("WWW-Authenticate", wants))
        }
    };
    let anonymous = world(allowed);
    let error = anonymous.pull(b"x").await.expect_err("must fail");
    assert_eq!(error.kind(), Kind::Auth);
    let mut known = world(allowed);
    known.log_in(user());
    known.pull(b"x").await.expect("the blob");
    known.pull(b"y").await.expect("the blob");
    assert_eq!(known.count("GET", "/blobs/"), 3, "the second was not challenged");
}

#[tokio::test]
async fn a_redirect_elsewhere_carries_no_credentials() {
    let storage = world(|_| Fate::Pass);
    let bytes = blob(90_000);
    let digest = Digest::of(&bytes);
    storage.server.shelf().blobs.insert(digest.to_string(), bytes.clone());
    let elsewhere = format!("http://{}/s3/{digest}?signature=x", storage.server.host());
    let mut registry = world(move |heard| {
        if is_user(heard) {
            Fate::Answer(Answer::new(307).with("Location", elsewhere.as_str()))
        } else {
            Fate::Answer(Answer::new(401).with("WWW-Authenticate", "Basic realm=r"))
        }
    });
    registry.log_in(user());
    registry.pull(&bytes).await.expect("the blob");
    let log = storage.server.shelf().log.clone();
    assert_eq!(log.len(), 1);
    assert!(log.iter().all(|h| h.header("authorization").is_none()));
}

#[tokio::test]
async fn a_session_elsewhere_gets_no_credentials_and_its_challenge_no_answer() {
    let storage = world(|_| {
        Fate::Answer(Answer::new(401).with("WWW-Authenticate", "Basic realm=give-me-your-password"))
    });
    let elsewhere = format!("http://{}/upload/1?x=y", storage.server.host());
    let mut registry = world(move |heard| {
        if !is_user(heard) {
            Fate::Answer(Answer::new(401).with("WWW-Authenticate", "Basic realm=r"))
        } else if heard.is("POST", "") {
            Fate::Answer(Answer::new(202).with("Location", elsewhere.as_str()))
        } else {
            Fate::Pass
        }
    });
    registry.log_in(user());
    let error = registry.push(b"x", None).await.expect_err("must fail");
    assert_eq!(error.kind(), Kind::Auth);
    let log = storage.server.shelf().log.clone();
    assert_eq!(log.len(), 1);
    assert!(log.iter().all(|h| h.header("authorization").is_none()));
}

#[tokio::test]
async fn a_mount_asks_for_two_scopes_and_goes_on_with_one() {
    fn allow(heard: &Heard) -> bool {
        // Two scopes are more than this token server gives.
        is_user(heard) && heard.target.matches("scope=").count() == 1
    }
    let world = guarded(Some(user()), u32::MAX, allow);
    let pushed = world.push(b"x", Some("base")).await;
    assert!(matches!(pushed, Ok(Pushed::Uploaded)), "{pushed:?}");
    assert!(world.server.requests().iter().any(|r| {
        r.ends_with("&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Abase%3Apull")
    }));
}

#[tokio::test]
async fn a_token_server_that_fails_is_asked_again_but_not_for_ever() {
    for (failures, expected) in [(2, true), (u32::MAX, false)] {
        let host = Arc::new(Mutex::new(String::new()));
        let realm = Arc::clone(&host);
        let mut failed = 0;
        let world = world(move |heard| {
            if heard.target.starts_with("/token") {
                failed += 1;
                return match failed {
                    f if f > failures => Fate::Answer(Answer::new(200).body(r#"{"token":"T"}"#)),
                    f if f % 2 == 0 => Fate::Reset { after: 0 },
                    _ => Fate::Answer(Answer::new(503)),
                };
            }
            if heard.header("authorization") == Some("Bearer T") {
                return Fate::Pass;
            }
            let realm = realm.lock().unwrap().clone();
            let challenge = format!(r#"Bearer realm="http://{realm}/token""#);
            Fate::Answer(Answer::new(401).with("WWW-Authenticate", challenge))
        });
        *host.lock().unwrap() = world.server.host();
        let result = world.pull(b"x").await;
        assert_eq!(result.is_ok(), expected, "{result:?}");
        assert_eq!(world.count("GET", "/token"), if expected { 3 } else { 5 });
        if let Err(error) = result {
            assert_eq!(error.kind(), Kind::Unreachable, "{error}");
        }
    }
}
