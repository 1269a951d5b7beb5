//! The credential helper protocol: a program, the server on its standard input,
//! `{"ServerURL","Username","Secret"}` on its standard output.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::credentials::{Credential, CredentialsError, from_pair};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks `program` for the credentials of `server`; `None` if it has none.
pub(super) async fn get(
    program: &str,
    server: &str,
    limit: Duration,
) -> Result<Option<Credential>, CredentialsError> {
    let fail = |problem: String| CredentialsError::Helper {
        program: program.to_owned(),
        server: server.to_owned(),
        problem,
    };
    let child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CredentialsError::HelperMissing {
            program: program.to_owned(),
            server: server.to_owned(),
        },
        _ => fail(error.to_string()),
    })?;
    let asked = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input may still answer.
            let _ = stdin.write_all(server.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(limit, asked).await {
        Ok(output) => output.map_err(|e| fail(e.to_string()))?,
        Err(_) => return Err(fail(format!("no answer within {} seconds", limit.as_secs_f32()))),
    };
    if !output.status.success() {
        // Helpers say it on standard output; the words are part of the protocol.
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        if text.contains("credentials not found") || errors.contains("credentials not found") {
            return Ok(None);
        }
        // A failing helper's output is its message, but no more than a line of it.
        let said = [text.trim(), errors.trim()].into_iter().find(|t| !t.is_empty());
        let said = said.and_then(|t| t.lines().next()).unwrap_or("it said nothing");
        return Err(fail(format!("{} ({})", said, output.status)));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| fail("its answer is not the JSON of the protocol".into()))?;
    if answer.username.is_empty() && answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(from_pair(&answer.username, &answer.secret)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::testing::TempDir;

    async fn run(script: &str, limit: Duration) -> Result<Option<Credential>, CredentialsError> {
        let temp = TempDir::new("helper");
        let path = temp.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let program = path.to_str().expect("a path");
        loop {
            let got = get(program, "h.io", limit).await;
            // Another test's fork may hold the script open for writing just now.
            match got {
                Err(CredentialsError::Helper { ref problem, .. })
                    if problem.contains("Text file busy") => {}
                got => return got,
            }
        }
    }

    #[tokio::test]
    async fn speaks_the_protocol() {
        let long = Duration::from_secs(30);
        let echo =
            r#"read s; echo "{\"ServerURL\":\"$s\",\"Username\":\"$1-$s\",\"Secret\":\"p\"}""#;
        let got = run(echo, long).await.expect("credentials");
        assert_eq!(got, Some(from_pair("get-h.io", "p")));
        let token = r#"echo '{"Username":"<token>","Secret":"t"}'"#;
        let got = run(token, long).await.expect("credentials");
        assert_eq!(got, Some(Credential::IdentityToken("t".into())));
        let none = "echo 'credentials not found in native keychain'; exit 1";
        assert_eq!(run(none, long).await.expect("anonymous"), None);
        let broken = run("echo 'vault is sealed'; exit 3", long).await.expect_err("must fail");
        assert!(broken.to_string().contains("vault is sealed"), "{broken}");
        let garbage = run("echo '{\"Secret\": s3cret}'", long).await.expect_err("must fail");
        assert!(!garbage.to_string().contains("s3cret"), "{garbage}");
        let hung = run("exec tail -f /dev/null", Duration::from_millis(50)).await;
        assert!(matches!(hung, Err(CredentialsError::Helper { .. })));
    }
}
