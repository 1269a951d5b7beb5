//! The values of EXPOSE, STOPSIGNAL, --chmod, and paths of the image.

/// Ports of a word of EXPOSE, as `number/protocol`; an error is a message.
pub(super) fn ports(word: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("the protocol is tcp, udp or sctp, not {protocol:?}"));
    }
    if ports.contains(':') {
        return Err(format!(
            "{word:?}: EXPOSE takes a port of the container, without an address or a port of the host"
        ));
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let port = text.parse::<u16>().ok().filter(|_| digits);
        port.ok_or_else(|| format!("{text:?} is no port: a number from 0 to 65535"))
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(ports)?, number(ports)?),
    };
    if last < first {
        return Err(format!("the range {ports:?} ends before it begins"));
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Linux signals by name; SIGRTMIN and SIGRTMAX with offsets are known besides.
const SIGNALS: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF \
    PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ \
    RTMIN RTMAX";

/// Whether a text is a signal: a number, or a name with or without `SIG`.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |prefix: &str, limit: u32| {
        let digits = name.strip_prefix(prefix)?;
        let offset = digits.parse::<u32>().ok().filter(|_| !digits.starts_with('+'))?;
        Some((1..=limit).contains(&offset))
    };
    SIGNALS.split_ascii_whitespace().any(|signal| signal == name)
        || offset("RTMIN+", 15).unwrap_or(false)
        || offset("RTMAX-", 14).unwrap_or(false)
}

/// Whether a text is a mode: octal up to 7777, or symbolic (`u=rwX,go-w`).
pub(super) fn is_mode(text: &str) -> bool {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777);
    }
    text.split(',').all(|clause| {
        let who = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        // One or more of an operator and what it sets.
        who.starts_with(['+', '-', '=']) && who.chars().all(|c| "+-=rwxXstugo".contains(c))
    })
}

/// `path` from `base`, clean: no `.`, `..`, double or last slash; cannot leave `/`.
pub(super) fn resolve(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { base };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports() {
        let of = |ports: &[&str]| Ok(ports.iter().map(ToString::to_string).collect());
        assert_eq!(ports("80"), of(&["80/tcp"]));
        assert_eq!(ports("53/UDP"), of(&["53/udp"]));
        assert_eq!(ports("80/"), of(&["80/tcp"]));
        assert_eq!(ports("8000-8002/sctp"), of(&["8000/sctp", "8001/sctp", "8002/sctp"]));
        for bad in ["", "x", "80/icmp", "9-8", "70000", "1-2-3", "8080:80", "+80", "80-"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_signals() {
        for good in ["9", "SIGTERM", "term", "SIGRTMIN+3", "RTMAX-14", "SIGRTMIN"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["0", "65", "", "SIG", "SIGFOO", "RTMIN+16", "RTMIN++1", "-9"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }

    #[test]
    fn knows_modes() {
        for good in ["755", "0644", "7777", "u=rwX,go=rX", "+x", "a-w", "u+rw-x", "g=u"] {
            assert!(is_mode(good), "{good}");
        }
        for bad in ["888", "17777", "rwx", "u", "u=q", "u=r,", "x+r"] {
            assert!(!is_mode(bad), "{bad}");
        }
    }

    #[test]
    fn resolves_paths() {
        for (base, path, expected) in [
            ("/", "a", "/a"),
            ("/a", "b/../c/./", "/a/c"),
            ("/a", "/b//c/", "/b/c"),
            ("/a", "../../..", "/"),
            ("/a", ".", "/a"),
            ("", "x", "/x"),
        ] {
            assert_eq!(resolve(base, path), expected);
        }
    }
}
